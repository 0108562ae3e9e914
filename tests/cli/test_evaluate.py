"""``codeling evaluate``: output, mistakes, and resuming after an interruption."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from codeling import cli
from codeling.cli.evaluate import SUITE_NAMES
from codeling.evaluation.journal import Journal
from codeling.evaluation.suites.registry import SUITES

from ..forking import Fork
from .conftest import Call

QUICK = ("--max-bytes", "20000", "--limit", "8", "--max-new-tokens", "16", "--device", "cpu")


def test_text_suites_are_measured_on_a_run(main: Call, finished: Path, tmp_path: Path) -> None:
    arguments = ("evaluate", finished, "--suite", "bits-per-byte", "--suite", "completion")
    answer = main(*arguments, *QUICK, "--out", tmp_path)
    assert answer.code == 0, answer.err
    assert "bits per byte" in answer.out
    assert "exact match, next line" in answer.out
    assert f"samples: {tmp_path / 'evaluation.html'}" in answer.out
    again = main(*arguments, *QUICK, "--out", tmp_path, "--json")
    assert "completion: unchanged, skipped" in again.err
    found = json.loads(again.out)
    assert [result["suite"] for result in found["results"]] == ["bits-per-byte", "completion"]
    assert found["results"][0]["training_data"] is not None
    assert "problems" not in found["results"][0]


def test_the_memory_is_measured_beside_the_model_if_asked(
    main: Call, finished: Path, tmp_path: Path
) -> None:
    arguments = "evaluate", finished, "--suite", "bits-per-byte", "--memory", "--out", tmp_path
    answer = main(*arguments, *QUICK)
    assert answer.code == 0, answer.err
    assert "bits-per-byte, memory" in answer.out
    assert "bits per byte of the memory alone" in answer.out
    alone, with_memory = json.loads(main(*arguments, *QUICK, "--json").out)["results"]
    assert "memory" not in alone["settings"]
    assert with_memory["settings"]["memory"]["sources"][0] == "document"
    value = with_memory["scores"][0]["value"]  # from another runner
    assert alone["scores"][0]["value"] == pytest.approx(value, rel=1e-7)


def test_memorization_is_measured_on_a_run(main: Call, finished: Path, tmp_path: Path) -> None:
    canaries = tmp_path / "canaries.jsonl"
    canaries.write_text('{"prefix": "SECRET = ", "secret": "4711"}\n')
    answer = main(
        "evaluate", finished, "--suite", "memorization", *QUICK, "--canaries", canaries,
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    (result,) = json.loads(answer.out)["results"]
    names = [score["name"] for score in result["scores"]]
    assert names[-1] == "canaries found"
    assert len(names) == 3


def test_the_evaluation_of_the_run_is_unchanged(main: Call, finished: Path) -> None:
    before = (finished / "evaluation.json").read_bytes()
    answer = main("evaluate", finished, "--suite", "bits-per-byte", *QUICK)
    assert answer.code == 0, answer.err
    assert (finished / "evaluation.json").read_bytes() == before
    assert list(finished.glob("evaluation/bits-per-byte-*/evaluation.json"))


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        ((), 2, "give --suite NAME or --all; the suites are bits-per-byte"),
        (("--suite", "humaneva"), 2, "did you mean humaneval?"),
        (("--suite", "humaneval", "--all"), 2, "give --suite NAME or --all"),
        (("--suite", "humaneval"), 1, "humaneval: no data; give --data humaneval=FILE"),
        (("--suite", "mbpp", "--data", "nowhere.jsonl"), 2, "nowhere.jsonl: no such file"),
        (("--suite", "completion", "-n", "0"), 2, "must be 1 or more"),
        (
            ("--suite", "completion", "--temperature", "-1"),
            2,
            "temperature must be a finite number",
        ),
        (("--suite", "memorization", "--canaries", "nowhere"), 2, "nowhere: cannot be read"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], code: int, words: str, main: Call, finished: Path, tmp_path: Path
) -> None:
    answer = main("evaluate", finished, *arguments, "--out", tmp_path / "out")
    assert (answer.code, answer.out) == (code, "")
    last = answer.err.strip().splitlines()[-1]
    assert last.startswith("codeling: ")
    assert words in last


def evaluate_until_interrupted(number: signal.Signals, arguments: list[str]) -> None:
    """A command that receives a signal after its first group of completions."""
    append = Journal.append

    def append_once(journal: Journal, records: Any) -> None:
        append(journal, records)
        os.kill(os.getpid(), number)

    sys.argv = ["codeling", *arguments]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", append_once)
        cli.main()


def test_a_killed_evaluation_resumes_to_the_same_numbers(
    main: Call, finished: Path, tmp_path: Path
) -> None:
    arguments = [
        "evaluate", str(finished), "--suite", "completion", "--limit", "12", "--batch-size", "4",
        "--max-new-tokens", "16", "--device", "cpu",
    ]  # fmt: skip
    whole = main(*arguments, "--out", tmp_path / "whole")
    assert whole.code == 0, whole.err
    stopped = tmp_path / "stopped"
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        given = [*arguments, "--out", str(stopped)]
        errors = tmp_path / "errors"
        with Fork(evaluate_until_interrupted, number, given, errors=errors) as process:
            assert process.wait(120) == code, errors.read_text()
    assert not list(stopped.glob("evaluation/*/evaluation.json"))
    (journal,) = stopped.glob("evaluation/*/journal.jsonl")
    assert journal.read_bytes().count(b"\n") == 1 + 2  # its first line names the measurement
    last = main(*arguments, "--out", stopped)
    assert last.code == 0, last.err
    assert "continues where it was interrupted" in last.err
    one, two = (next(f.glob("evaluation/*/evaluation.json")) for f in (tmp_path / "whole", stopped))
    assert one.read_bytes() == two.read_bytes()


def test_the_help_names_every_suite() -> None:
    assert tuple(SUITES) == SUITE_NAMES
