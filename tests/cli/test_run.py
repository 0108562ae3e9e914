import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeling.corpus.document import iterate

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
    ("verb", "last", "following"),
    [
        ("corpus", "corpus", "codeling tokenizer"),
        ("tokenizer", "tokens", "codeling train"),
        ("train", "model", "codeling run"),
        ("run", "report", "codeling complete"),
    ],
)
def test_what_is_finished_is_not_done_again(
    main: Main, copy: Path, recipe_file: Path, verb: str, last: str, following: str
) -> None:
    values = one_object(main(verb, recipe_file, "--out", copy, "--json"))
    assert values["folder"] == str(copy)
    assert list(values["stages"])[-1] == last
    assert not any(stage["done"] for stage in values["stages"].values())
    answer = main(verb, recipe_file, "--out", copy)
    assert answer.out.splitlines()[:2] == [f"done: {copy}", "next:"]
    assert answer.out.splitlines()[2].startswith(f"  {following} ")
    assert f"--out {copy}" in answer.out or str(copy) in answer.out.splitlines()[2]
    assert "corpus: unchanged, not done again" in answer.err.splitlines()


def test_a_dry_run_does_nothing(
    main: Main, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = one_object(main("run", recipe_file, "--dry-run", "--json"))
    assert (values["num_steps"], values["num_tokens"]) == (30, 30 * 512)
    answer = main("run", recipe_file, "--dry-run", "--set", "training.minutes=600")
    assert answer.code == 0
    for word in ("parameters", "memory", "tokens", "time", "hours"):
        assert word in answer.out
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_named_after_the_recipe(
    main: Main, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert one_object(main("corpus", recipe_file, "--json"))["folder"] == "runs/tiny"
    assert (tmp_path / "runs" / "tiny" / "corpus" / "report.json").exists()


@pytest.mark.parametrize("verb", ["complete", "trace"])
def test_json_of_the_verbs_that_read(main: Main, finished: Path, tmp_path: Path, verb: str) -> None:
    prompt = tmp_path / "prompt.py"
    prompt.write_text(next(iterate(finished / "corpus", "train", "files")).text)
    values = one_object(main(verb, finished, prompt, "--json"))
    assert values["completions" if verb == "complete" else "matches"]
