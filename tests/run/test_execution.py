import hashlib
import json
import re
import shutil
import sysconfig
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

import codeling
from codeling.dataset.tokens import open_tokens
from codeling.errors import BusyError, CodelingError, UsageError
from codeling.manifest import locked
from codeling.memory.corpus_table.counting import CorpusTokens
from codeling.memory.corpus_table.table import open_table
from codeling.memory.corpus_table.table_builder import build as build_table
from codeling.model.folder import weights_sha256
from codeling.progress import SILENT
from codeling.recipe import Recipe, read_recipe
from codeling.run import STAGES, StopRequest, run

pytestmark = pytest.mark.usefixtures("corpus_process")
NAMES = [stage.name for stage in STAGES]
WRITTEN = {
    "recipe.toml",
    "manifest.json",
    "corpus/report.json",
    "tokenizer/tokenizer.json",
    "corpus/train/files-00000.parquet",
    "corpus/train/functions-00000.parquet",
    "corpus/validation/files-00000.parquet",
    "corpus/validation/functions-00000.parquet",
    "corpus/test/files-00000.parquet",
    "corpus/test/functions-00000.parquet",
    "memory/mixture.safetensors",
    "tokens/train.bin",
    "tokens/train.idx",
    "tokens/train.json",
    "tokens/validation.bin",
    "tokens/validation.idx",
    "tokens/validation.json",
    "checkpoints/step-00000012/model.safetensors",
    "checkpoints/step-00000012/optimizer.safetensors",
    "checkpoints/step-00000012/state.json",
    "checkpoints/step-00000012/manifest.json",
    "model/config.json",
    "model/generation_config.json",
    "model/model.safetensors",
    "model/tokenizer.json",
    "model/tokenizer_config.json",
    "model/README.md",
    "provenance/index.safetensors",
    "memory/corpus.safetensors",
    "metrics.jsonl",
    "samples.jsonl",
    "evaluation.json",
    "report.html",
}


class Notes:
    """Progress that records its notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def task(self, label: str, total: int | None = None, unit: str = "items") -> Any:
        return SILENT.task(label, total, unit)

    def note(self, line: str) -> None:
        self.lines.append(line)


class Attributes(HTMLParser):
    """Every attribute of every tag of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += attrs


def tiny(sources: Path, tables: Mapping[str, Mapping[str, Any]] | None = None) -> Recipe:
    """Recipe for a complete run in a few seconds; ``tables`` overrides values."""
    values: dict[str, dict[str, Any]] = {
        "corpus": {
            "sources": [{"kind": "folder", "path": str(p)} for p in sorted(sources.iterdir())],
            "validation_share": 0.2,
            "test_share": 0.2,
        },
        "tokenizer": {"vocab_size": 600},
        "model": {"n_layer": 2, "n_head": 2, "n_embd": 64, "context_length": 64},
        "training": {
            "steps": 12, "warm_start_steps": 5, "tokens_per_step": 512, "validation_tokens": 1024,
            "threads": 1, "device": "cpu", "validation_interval": 0.5, "sample_interval": 0.5,
        },
        "memory": {},
        "evaluation": {"completions": 4, "max_bytes": 20_000, "max_new_tokens": 16},
    }  # fmt: skip
    for table, changes in (tables or {}).items():
        values[table] |= changes
    return Recipe.model_validate(values)


def done(summary: dict[str, Any]) -> dict[str, str]:
    """Stages that ran -> the reason."""
    return {name: stage["reason"] for name, stage in summary["stages"].items() if stage["done"]}


def files_of(folder: Path) -> dict[str, Path]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in paths}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small packages of the standard library, each a repository."""
    root = tmp_path_factory.mktemp("sources")
    library = Path(sysconfig.get_paths()["stdlib"])
    for name in ("json", "logging", "concurrent"):
        shutil.copytree(library / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def finished(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of one complete run. Tests that change it use a copy."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    summary = run(tiny(sources), folder)
    assert done(summary) == dict.fromkeys(NAMES, "not done yet")
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_the_run_folder_is_complete(finished: Path, sources: Path) -> None:
    files = files_of(finished)
    assert files.keys() >= WRITTEN
    others = {name for name in files.keys() - WRITTEN if not name.startswith("checkpoints/")}
    assert others == {".lock", "last_step.json"}  # files for a person are not outputs
    assert read_recipe(finished / "recipe.toml") == tiny(sources).resolved()
    for name, path in files.items():
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        if path.suffix == ".jsonl":
            assert [json.loads(line) for line in path.read_bytes().splitlines()], name
    completion = codeling.load(finished).complete("def mean(xs):\n", max_new_tokens=4)
    assert completion.finish_reason in ("length", "end_of_text", "stop", "block")


def test_one_small_folder_can_be_trained_on(sources: Path, tmp_path: Path) -> None:
    folder, notes = tmp_path / "run", Notes()
    one = {"sources": [{"kind": "folder", "path": str(sources / "json")}]}
    tables: dict[str, dict[str, Any]] = {
        "corpus": one, "tokenizer": {"vocab_size": 4096}, "training": {"steps": 3},
    }  # fmt: skip
    summary = run(tiny(sources, tables), folder, progress=notes)
    assert done(summary).keys() == set(NAMES)
    model = codeling.load(folder)
    vocab_size = model.tokenizer.vocab_size
    assert 261 < vocab_size < 4096
    (note,) = [line for line in notes.lines if "vocabulary" in line]
    assert note.startswith(f"the vocabulary has {vocab_size:,} entries instead of 4,096: ")
    config = json.loads((folder / "model" / "config.json").read_bytes())
    assert config["vocab_size"] == model.model.wte.num_embeddings == vocab_size
    assert f"a vocabulary of {vocab_size:,}" in (folder / "report.html").read_text("utf-8")
    assert len(model.complete("def f(", max_new_tokens=4).ids) <= 4


def test_the_manifest_lists_every_output_with_its_digest(finished: Path) -> None:
    stages = json.loads((finished / "manifest.json").read_bytes())["stages"]
    assert list(stages) == sorted(NAMES)
    listed = {name: file for stage in stages.values() for name, file in stage["outputs"].items()}
    assert WRITTEN - listed.keys() == {"recipe.toml", "manifest.json"}
    for name, file in listed.items():
        data = (finished / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["num_bytes"], file["sha256"])
    for stage in stages.values():
        assert {"torch", "daft", "codeling"} <= stage["versions"].keys()


def test_nothing_is_pickled_and_files_are_readable_by_all(finished: Path) -> None:
    known = {".json", ".jsonl", ".toml", ".html", ".md", ".safetensors", ".parquet", ".bin", ".idx"}
    for name, path in files_of(finished).items():
        start = path.read_bytes()[:2]
        assert path.suffix in known or name == ".lock", name
        assert not start.startswith((b"\x80", b"PK")), name
        if name.startswith("checkpoints/"):
            assert path.suffix in {".safetensors", ".json"}, name
        else:
            assert path.stat().st_mode & 0o777 == (finished / "recipe.toml").stat().st_mode & 0o777


def test_the_report_loads_nothing_external(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    parser = Attributes()
    parser.feed(page)
    names = {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}
    targets = [value or "" for name, value in parser.found if name in names]
    assert targets
    assert all(target.startswith(("#", "data:")) for target in targets), targets
    assert not re.search(r"""@import|url\(\s*["']?(?!data:|#)""", page)


def test_unchanged_stages_are_skipped(folder: Path, sources: Path) -> None:
    before = {name: path.stat().st_mtime_ns for name, path in files_of(folder).items()}
    notes = Notes()
    assert done(run(tiny(sources), folder, progress=notes)) == {}
    assert [line.endswith("unchanged, skipped") for line in notes.lines] == [True] * len(NAMES)
    after = {name: path.stat().st_mtime_ns for name, path in files_of(folder).items()}
    del before["recipe.toml"], after["recipe.toml"], before[".lock"], after[".lock"]
    assert before == after


def test_a_changed_setting_repeats_the_dependent_stages(folder: Path, sources: Path) -> None:
    notes = Notes()
    summary = run(tiny(sources, {"training": {"steps": 3}}), folder, progress=notes)
    assert done(summary) == {
        "training": "training.steps changed from 12 to 3",
        "model": "the training stage changed",
        "mixture": "the model stage changed",
        "evaluation": "the mixture stage changed",
        "report": "training.steps changed from 12 to 3",
    }
    assert "training (again: training.steps changed from 12 to 3)" in notes.lines
    assert [path.name for path in sorted((folder / "checkpoints").iterdir())][-1] == "step-00000003"


@pytest.mark.parametrize(
    ("table", "key", "value", "stages"),
    [
        ("evaluation", "seed", 1, {"evaluation", "report"}),
        ("training", "checkpoint_minutes", 2.0, {"report"}),
        ("training", "keep_last", 5, {"report"}),
        ("memory", "corpus_entries", 0, {"memory", "mixture", "evaluation", "report"}),
    ],
)
def test_settings_of_late_stages_repeat_only_those(
    folder: Path, sources: Path, table: str, key: str, value: object, stages: set[str]
) -> None:
    reasons = done(run(tiny(sources, {table: {key: value}}), folder))
    assert reasons.keys() == stages
    if table == "evaluation":
        assert reasons[table] == f"{table}.{key} changed from 0 to {value}"


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("tokenizer/tokenizer.json", "tokenizer"),
        ("tokens/validation.idx", "tokens"),
        ("provenance/index.safetensors", "provenance"),
        ("memory/corpus.safetensors", "memory"),
    ],
)
def test_a_damaged_output_is_built_again(
    folder: Path, sources: Path, name: str, stage: str
) -> None:
    whole = (folder / name).read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    (folder / name).write_bytes(damaged)
    notes = Notes()
    assert done(run(tiny(sources), folder, progress=notes)) == {stage: f"{name} is damaged"}
    assert any(line.endswith(f"(again: {name} is damaged)") for line in notes.lines)
    assert (folder / name).read_bytes() == whole


def test_a_missing_output_is_built_again(folder: Path, sources: Path) -> None:
    (folder / "model" / "config.json").unlink()
    reasons = done(run(tiny(sources), folder))
    assert reasons == {"model": "model/config.json is missing"}


def test_a_changed_source_repeats_the_corpus(folder: Path, sources: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(sources, tmp_path / "changed"))
    recipe = tiny(changed)
    assert "corpus" in done(run(recipe, folder, until="corpus"))
    assert done(run(recipe, folder, until="corpus")) == {}
    with (changed / "json" / "decoder.py").open("a") as file:
        file.write("\n\ndef added():\n    return 1\n")
    assert done(run(recipe, folder, until="corpus")) == {"corpus": "the source files changed"}


def test_only_one_process_uses_a_run_folder(folder: Path, sources: Path) -> None:
    with locked(folder), pytest.raises(BusyError, match="another codeling process uses this"):
        run(tiny(sources), folder)
    assert done(run(tiny(sources), folder)) == {}


def test_the_corpus_table_is_made_from_the_train_split_alone(
    folder: Path, sources: Path, tmp_path: Path
) -> None:
    """So what the corpus drops or replaces, and what is held out, is in no table."""
    path, tokens = folder / "memory" / "corpus.safetensors", folder / "tokens"
    table = open_table(path)
    train = open_tokens(tokens / "train.bin")
    assert table.num_entries <= train.num_bytes.sum() // 18
    assert path.stat().st_size < 0.45 * train.num_bytes.sum()
    before = path.read_bytes()
    shutil.rmtree(folder / "corpus")
    (tokens / "validation.bin").unlink()
    again = tmp_path / "corpus.safetensors"
    ids = CorpusTokens(train.ids, train.offsets, table.vocab_size, table.boundary)
    build_table(ids, again, int(train.num_bytes.sum()) // 18, table.tokenizer_digest)
    assert again.read_bytes() == before


def test_partial_files_of_a_killed_process_are_removed(folder: Path, sources: Path) -> None:
    (folder / "checkpoints" / "step-00000007.partial").mkdir()
    (folder / "checkpoints" / "step-00000007.partial" / "model.safetensors").write_bytes(b"half")
    (folder / "tokens" / "train.bin.partial").write_bytes(b"half")
    run(tiny(sources), folder, until="corpus")
    assert [name for name in files_of(folder) if "partial" in name] == []


def test_a_stop_request_takes_effect_between_stages(tmp_path: Path, sources: Path) -> None:
    with pytest.raises(CodelingError, match="the same command continues"):
        run(tiny(sources), tmp_path, stop=StopRequest(requested=True))
    assert json.loads((tmp_path / "manifest.json").read_bytes())["stages"] == {}


def test_wrong_use_is_a_usage_error(tmp_path: Path, sources: Path) -> None:
    with pytest.raises(UsageError, match="no stage 'coffee'; the stages are corpus, tokenizer"):
        run(tiny(sources), tmp_path, until="coffee")
    with pytest.raises(UsageError, match="is not a multiple of"):
        run(tiny(sources, {"training": {"tokens_per_step": 100}}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_starts_from_the_model_of_another(
    finished: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shape, tokenizer and weights are taken over; its digest and its card say so."""
    hashed: list[Path] = []

    def sha256(folder: Path) -> str:
        hashed.append(folder)
        return weights_sha256(folder)

    monkeypatch.setattr("codeling.training.initial_model.weights_sha256", sha256)
    base = Path(shutil.copytree(finished, tmp_path / "base"))
    recipe = Recipe.model_validate(
        {
            "corpus": {
                "sources": [{"kind": "folder", "path": str(sources / "json")}],
                "validation_share": 0.3,
            },
            "model": {"context_length": 32},
            "training": {
                "init": str(base), "steps": 3, "tokens_per_step": 256, "adamw_lr": 1e-9,
                "muon_lr": 1e-9, "validation_tokens": 512, "threads": 1, "device": "cpu",
            },
            "memory": {"corpus_entries": 0},
            "evaluation": {"completions": 0, "max_bytes": 2000},
        }
    )  # fmt: skip
    folder = tmp_path / "run"
    run(recipe, folder)
    assert hashed == [base / "model"]  # once, although four stages need it
    stages = json.loads((folder / "manifest.json").read_bytes())["stages"]
    digest = hashlib.sha256((base / "model" / "model.safetensors").read_bytes()).hexdigest()
    assert stages["training"]["inputs"]["the weights of training.init"] == digest
    assert digest in (folder / "model" / "README.md").read_text()
    ours, theirs = (codeling.load(each).model for each in (folder, base))
    assert ours.config.context_length == 32
    assert torch.allclose(ours.wpe.weight, theirs.wpe.weight[:32], atol=1e-6)
    assert torch.allclose(ours.wte.weight, theirs.wte.weight, atol=1e-6)
    assert done(run(recipe, folder)) == {}
    assert read_recipe(folder / "recipe.toml").resolved().training.warm_start_steps == 0
    with pytest.raises(UsageError, match="is the model of this run folder and would be"):
        run(recipe, base)
    moved = base.rename(tmp_path / "moved")
    changed = recipe.model_copy(
        update={"training": recipe.training.model_copy(update={"init": str(moved)})}
    )
    assert done(run(changed, folder)).keys() == {"model", "mixture", "evaluation", "report"}
    config = json.loads((moved / "model" / "config.json").read_bytes())
    (moved / "model" / "config.json").write_text(json.dumps(config | {"model_type": "opt"}))
    with pytest.raises(CodelingError, match=r"\[training\] init: .*only 'gpt2' is supported"):
        run(changed, folder)
