import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeling.cli.run import SAMPLE_PROMPT
from codeling.corpus.document import iterate
from codeling.provenance.index import IndexSize, expected_size

Main = Callable[..., Any]


def one_object(answer: Any) -> dict[str, Any]:
    assert answer.code == 0, answer.err
    assert answer.out.count("\n") == 1
    values = json.loads(answer.out)
    assert isinstance(values, dict)
    return values


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("name", "last", "following"),
    [
        ("corpus", "corpus", "codeling tokenizer"),
        ("tokenizer", "tokens", "codeling train"),
        ("train", "model", "codeling run"),
        ("run", "report", "codeling complete"),
    ],
)
def test_finished_stages_are_skipped(
    main: Main, copy: Path, recipe_file: Path, name: str, last: str, following: str
) -> None:
    values = one_object(main(name, recipe_file, "--out", copy, "--json"))
    assert values["folder"] == str(copy)
    assert list(values["stages"])[-1] == last
    assert not any(stage["done"] for stage in values["stages"].values())
    answer = main(name, recipe_file, "--out", copy)
    done, following_title, line = answer.out.splitlines()[-3:]
    assert (done, following_title) == (f"done: {copy}", "next:")
    assert line.startswith(f"  {following} ")
    assert str(copy) in line
    assert "corpus: unchanged, skipped" in answer.err.splitlines()


def test_a_dry_run_writes_nothing(
    main: Main, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = one_object(main("run", recipe_file, "--dry-run", "--json"))
    assert (values["num_steps"], values["num_tokens"]) == (30, 30 * 512)
    index = IndexSize(**values["provenance_index"])
    files = recipe_file.parent.rglob("*.py")
    assert index == expected_size(sum(path.stat().st_size for path in files))
    answer = main("run", recipe_file, "--dry-run", "--set", "training.minutes=600")
    assert answer.code == 0
    for word in ("parameters", "memory", "tokens", "time", "hours"):
        assert word in answer.out
    assert f"provenance    index of {index}\n" in answer.out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_fails_if_a_source_is_missing(main: Main, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('[corpus]\nsources = [{kind = "folder", path = "/nowhere/at/all"}]')
    for options in ([], ["--json"]):
        answer = main("run", path, "--dry-run", *options)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err == "codeling: corpus source /nowhere/at/all: no such folder\n"


def test_a_dry_run_fails_without_sources(main: Main, tmp_path: Path, recipe_file: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    answer = main("run", recipe_file, "--dry-run", "--set", "corpus.sources=[]")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.endswith("[corpus] sources: the list is empty\n")
    source = f'corpus.sources=[{{kind="folder", path="{empty}"}}]'
    answer = main("run", recipe_file, "--dry-run", "--set", source)
    assert (answer.code, answer.out) == (1, "")
    assert "no .py file found" in answer.err


def test_a_dry_run_of_few_steps_gives_the_warning_of_the_run(main: Main, recipe_file: Path) -> None:
    answer = main("run", recipe_file, "--dry-run", "--set", "training.tokens=512")
    assert answer.code == 0
    assert "warning: this run has only 1 step, and a model learns little" in answer.err
    values = main("run", recipe_file, "--dry-run", "--json", "--set", "training.tokens=512").out
    assert json.loads(values)["warning"].startswith("warning: this run has only 1 step")
    assert "warning" not in main("run", recipe_file, "--dry-run").err


def test_a_run_ends_with_a_sample_the_scores_and_the_report(
    main: Main, copy: Path, recipe_file: Path
) -> None:
    answer = main("run", recipe_file, "--out", copy)
    assert SAMPLE_PROMPT in answer.out
    assert "test bits per byte  " in answer.out
    assert "parse rate  " in answer.out
    assert f"report              {copy / 'report.html'}" in answer.out
    values = one_object(main("run", recipe_file, "--out", copy, "--json"))
    evaluation = json.loads((copy / "evaluation.json").read_bytes())
    assert values["bits_per_byte"] == evaluation["bits_per_byte"]["value"]
    assert [each["prompt"] for each in values["completions"]] == [SAMPLE_PROMPT]


@pytest.mark.parametrize("out", ["", "occupied"])
def test_a_folder_with_other_content_is_refused(
    main: Main, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    folder = tmp_path / "occupied"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("notes.partial", "report.html", "a.txt"):
        (folder / name).write_text("mine")
    for command in ("corpus", "tokenizer", "train", "run"):
        answer = main(command, recipe_file, "--out", out and folder)
        assert (answer.code, answer.out) == (2, "")
        assert ("empty path" if out == "" else "not a run folder, and not empty") in answer.err
        assert "Value error" not in answer.err
    assert main("demo", "--out", out and folder).code == 2
    assert sorted(path.name for path in folder.iterdir()) == [
        "a.txt", "notes.partial", "report.html"
    ]  # fmt: skip
    assert {path.read_text() for path in folder.iterdir()} == {"mine"}


def test_the_folder_is_named_after_the_recipe(
    main: Main, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert one_object(main("corpus", recipe_file, "--json"))["folder"] == "runs/tiny"
    assert (tmp_path / "runs" / "tiny" / "corpus" / "report.json").exists()


@pytest.mark.parametrize("name", ["complete", "trace"])
def test_commands_that_only_read_print_json(
    main: Main, finished: Path, tmp_path: Path, name: str
) -> None:
    prompt = tmp_path / "prompt.py"
    prompt.write_text(next(iterate(finished / "corpus", "train", "files")).text)
    values = one_object(main(name, finished, prompt, "--json"))
    assert values["completions" if name == "complete" else "matches"]
