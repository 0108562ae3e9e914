"""The corpus table: distributions, bytes, and files that are not tables."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from codeling.errors import InputError
from codeling.memory.corpus_table import kneser_ney
from codeling.memory.corpus_table.counting import CorpusTokens
from codeling.memory.corpus_table.table import CorpusTable, open_table
from codeling.memory.corpus_table.table_builder import build

from .kneser_ney_reference import documents


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("memory") / "corpus.safetensors"
    build(documents(seed=3)[1], path, 400, "digest")
    return path


def test_the_distribution_sums_to_one_after_any_history(path: Path) -> None:
    table = open_table(path)
    draw = np.random.default_rng(1)
    histories: list[Any] = [[0], [0, 0], [3], [0, 3, 0], [0, 3, 3, 3, 3, 3, 3]]
    histories += [draw.integers(0, 11, draw.integers(1, 12)) for _ in range(200)]
    for history in histories:
        proposal = table.propose(np.array(history, np.int64))
        assert abs(proposal.probabilities.sum(dtype=np.float64) + proposal.rest - 1) < 1e-6
        assert len(set(proposal.ids.tolist())) == len(proposal.ids)
        assert (proposal.probabilities > 0).all()
        assert proposal.rest >= 0
        assert (proposal.order > 0) == (len(proposal.ids) > 0)
        assert proposal.order <= min(4, len(history))


def test_scores_are_the_proposals_of_each_position(path: Path) -> None:
    table = open_table(path)
    draw = np.random.default_rng(2)
    for text in [*documents(seed=3)[0][:8], draw.integers(1, 11, 40).tolist(), []]:
        ids = np.array([0, *text])
        scores = table.score(ids)
        assert len(scores.top) == len(text)
        for t in range(len(text)):
            proposal = table.propose(ids[: t + 1])
            given = dict(zip(proposal.ids.tolist(), proposal.probabilities, strict=True))
            assert scores.probability[t] == given.get(text[t], 0)
            assert scores.rest[t] == np.float32(proposal.rest)
            assert scores.order[t] == proposal.order
            assert scores.num_seen[t] == proposal.num_seen
            assert scores.num_distinct[t] == proposal.num_distinct
            best = max(given.values(), default=0)
            assert scores.top_probability[t] == best
            assert scores.top[t] == min((i for i, p in given.items() if p == best), default=-1)


def test_proposing_leaves_no_trace(path: Path) -> None:
    used, fresh = open_table(path), open_table(path)
    for start in range(1, 9):
        used.propose(np.arange(start))
    one, other = used.propose(np.array([0, 5])), fresh.propose(np.array([0, 5]))
    assert one.ids.tolist() == other.ids.tolist()
    assert one.probabilities.tolist() == other.probabilities.tolist()
    assert one.rest == other.rest


def test_documents_do_not_run_into_each_other(tmp_path: Path) -> None:
    texts = [[1, 2, 3], [4, 5, 6]]
    ids = np.array([token for text in texts for token in text] * 9, np.uint16)
    tokens = CorpusTokens(ids, np.arange(0, 55, 3, dtype=np.uint64), 9, 0)
    table = build(tokens, tmp_path / "corpus.safetensors", 1000, "")
    after_three = table.propose(np.array([0, 1, 2, 3]))
    assert after_three.ids.tolist() == [0]  # never 4
    assert after_three.order == 4
    start = table.propose(np.array([0]))
    assert {1, 4} <= set(start.ids.tolist())
    within = table.propose(np.array([0, 1, 2, 3, 0]))
    assert within.order == 1


def test_the_bytes_depend_on_neither_parts_nor_workers_nor_a_kill(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = documents(seed=3)[1]
    for bucket_keys, workers in ((30, 1), (30, 2), (1 << 20, 2)):
        out = tmp_path / f"{bucket_keys}-{workers}" / "corpus.safetensors"
        build(tokens, out, 400, "digest", workers, bucket_keys=bucket_keys)
        assert out.read_bytes() == path.read_bytes()
        assert [each.name for each in out.parent.iterdir()] == [out.name]
    out = tmp_path / "killed" / "corpus.safetensors"

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(kneser_ney, "build", killed)
        with pytest.raises(KeyboardInterrupt):
            build(tokens, out, 400, "digest")
    left = out.parent / "unfinished"
    before = {each.name: each.stat().st_mtime_ns for each in left.glob("level-*")}
    with monkeypatch.context() as context:
        context.setattr(shutil, "rmtree", lambda *arguments, **options: None)
        build(tokens, out, 400, "digest")
    assert {each.name: each.stat().st_mtime_ns for each in left.glob("level-*")} == before
    assert out.read_bytes() == path.read_bytes()
    build(documents(seed=4)[1], out, 400, "digest")  # another corpus: nothing is used again
    other = tmp_path / "other" / "corpus.safetensors"
    build(documents(seed=4)[1], other, 400, "digest")
    assert out.read_bytes() == other.read_bytes() != path.read_bytes()


def test_a_table_of_nothing_proposes_nothing(tmp_path: Path) -> None:
    table = build(documents(seed=3)[1], tmp_path / "corpus.safetensors", 0, "")
    proposal = table.propose(np.array([0, 3]))
    assert (len(proposal.ids), proposal.rest, proposal.order) == (0, 1, 0)


def test_a_damaged_file_is_one_clear_error(tmp_path: Path, path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: cannot be read \(No such file"):
        open_table(tmp_path / "nowhere")
    bad = tmp_path / "bad.safetensors"
    for data in (b"", b"x" * 99, path.read_bytes()[:-5]):
        bad.write_bytes(data)
        with pytest.raises(InputError, match=r"bad.safetensors: damaged, or not a corpus table"):
            open_table(bad)
    settings = {"order": 5, "vocab_size": 11, "boundary": 0, "tokenizer": ""}
    tensors = load_file(path)

    def rewritten(version: int, **changed: Any) -> None:
        metadata = {"codeling.memory": json.dumps({"format": version, **settings})}
        save_file({**tensors, **changed}, bad, metadata)

    rewritten(1)
    assert isinstance(open_table(bad), CorpusTable)
    rewritten(2)
    with pytest.raises(InputError, match="a corpus table of version 2"):
        open_table(bad)
    changes: list[tuple[str, Callable[[Any], Any]]] = [
        ("children.2", lambda values: values[::-1].copy()),
        ("children.1", lambda values: values + 1),
        ("seen.3", lambda values: values[:-1]),
        ("ids.3", lambda values: values + 100),
        ("unigrams", lambda values: values[:-1]),
    ]
    for name, change in changes:
        rewritten(1, **{name: change(tensors[name])})
        with pytest.raises(InputError, match="damaged"):
            open_table(bad)
