from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from codeling.adaptation.project_texts import Project, ProjectText
from codeling.adaptation.replay import (
    MAX_PASSES,
    balanced_order,
    old_texts,
    write_token_files,
)
from codeling.dataset.mixture import RepositoryRecorder, read_repository_numbers
from codeling.dataset.tokens import open_tokens, write_tokens
from codeling.recipe import TrainingRecipe
from codeling.run_folder import RunFolder
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training.data import TrainingData


def old_run(folder: Path, texts: list[str], tokenizer: Tokenizer) -> RunFolder:
    tokenizer.save(folder / "tokenizer" / "tokenizer.json")
    write_tokens(texts, tokenizer, folder / "tokens" / "train.bin")
    recorder = RepositoryRecorder()
    recorder.runs = [("a", 1), ("b", len(texts) - 1)]
    recorder.write(folder / "tokens" / "train.json")
    return RunFolder(folder)


def project_of(texts: list[str]) -> Project:
    files = [ProjectText(f"{n}.py", text, float(n)) for n, text in enumerate(texts)]
    return Project(Path(), files[:-1], files[-1:], by_git=False)


@pytest.mark.parametrize("replay", [0.25, 0.5])
def test_old_text_gets_its_share_of_the_run(
    tokenizer: Tokenizer, python_files: list[str], tmp_path: Path, replay: float
) -> None:
    base = old_run(tmp_path / "old", python_files[6:12], tokenizer)
    mark = "§"  # no file of the standard library that is used here has it
    own = [f"# {n} {mark * 500}\n" for n in range(24)]
    write_token_files(project_of(own), tokenizer, base, tmp_path, seed=0, replay=replay)
    train = open_tokens(tmp_path / "train.bin")
    owners = read_repository_numbers(tmp_path / "train.json")
    data = TrainingData(tokenizer, train, train, owners)
    num_tokens = 20_000
    loader = data.loader(TrainingRecipe(mixture_exponent=0, fim_rate=0), 64, num_tokens)
    sequences = [s[1:] for s, _ in islice(loader.sequences(loader.start()), num_tokens // 64)]
    ids = np.concatenate(sequences)
    of_project = np.isin(ids, tokenizer.encode(mark)).mean()
    assert abs(of_project - (1 - replay)) < 0.03


def test_without_old_text_the_project_is_all(tokenizer: Tokenizer, tmp_path: Path) -> None:
    own = [f"value_{n} = {n}\n" * 9 for n in range(5)]
    for base, replay in ((None, 0.25), (old_run(tmp_path / "old", own, tokenizer), 0.0)):
        number = write_token_files(project_of(own), tokenizer, base, tmp_path, 0, replay)
        tokens = open_tokens(tmp_path / "train.bin")
        assert (number, tokens.num_documents) == (0, 4 * MAX_PASSES)
        texts = {tokenizer.decode(tokens.document(n).tolist()) for n in range(4 * MAX_PASSES)}
        assert texts == set(own[:-1])
        held_out = open_tokens(tmp_path / "validation.bin")
        assert tokenizer.decode(held_out.document(0).tolist()) == own[-1]


def test_old_texts_are_those_of_the_run(
    tokenizer: Tokenizer, python_files: list[str], tmp_path: Path
) -> None:
    texts = python_files[:5]
    base = old_run(tmp_path, texts, tokenizer)
    found = list(old_texts(base, tokenizer, 0))
    assert sorted(found) == sorted(texts)
    assert found == list(old_texts(base, tokenizer, 0))
    assert list(old_texts(RunFolder(tmp_path / "nowhere"), tokenizer, 0)) == []
    assert list(old_texts(None, tokenizer, 0)) == []


def test_a_repository_is_replayed_by_the_root_of_its_size() -> None:
    owners = np.repeat([0, 1], [1600, 100])
    lengths = np.full(1700, 10)
    firsts = [
        int((owners[balanced_order(owners, lengths, seed)[:50]] == 0).sum()) for seed in range(40)
    ]
    assert abs(np.mean(firsts) - 40) < 2  # roots 4 to 1
    order = balanced_order(owners, lengths, 0)
    assert sorted(order.tolist()) == list(range(1700))
