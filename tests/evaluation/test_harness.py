"""A suite on a model: named by what it was measured from, done once, whole or gone on with."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from codeling.errors import BusyError, InputError, SandboxError
from codeling.evaluation.data.lookup import find_data
from codeling.evaluation.harness import (
    Done,
    Settings,
    Subject,
    each_suite,
    evaluate,
    read_result,
    results,
)
from codeling.evaluation.samples_page import write_page
from codeling.evaluation.suites.functional import Judge
from codeling.evaluation.suites.registry import SUITES, Suite, suite
from codeling.manifest import locked
from codeling.model import weights
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.progress import SILENT
from codeling.tokenizer.tokenizer import Tokenizer

from .conftest import PROBLEMS, InProcess, Scripted

FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"
SMALL = Settings(max_new_tokens=24, limit=6, max_bytes=3000)


@pytest.fixture
def model_folder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    model = GPT2(GPT2Config(tokenizer.vocab_size, 64, 1, 2, 16))
    model.initialize(0)
    tokenizer.save_for_hugging_face(folder, 64)
    weights.save(
        folder,
        model,
        end_of_text_id=tokenizer.end_of_text,
        pad_id=tokenizer.fim_pad,
        suppressed_ids=[],
        tokenizer_digest=tokenizer.digest,
    )
    return folder


@pytest.fixture
def subject(model_folder: Path, tmp_path: Path) -> Subject:
    loaded = Subject.load(str(model_folder), tmp_path / "out", "cpu")
    says = {
        json.loads(line)["prompt"]: json.loads(line)["canonical_solution"]
        for line in PROBLEMS.read_text().splitlines()
    }

    def script(prompt: str, suffix: str | None, number: int) -> str:
        told = says.get(prompt, "    return <b>&\n")
        return str(told[-1] if isinstance(told, list) else told)

    return replace(loaded, engine=Scripted(script, loaded.engine.tokenizer))


def in_process(of: Suite) -> AbstractContextManager[Judge]:
    return nullcontext(InProcess())


def no_sandbox(of: Suite) -> AbstractContextManager[Judge]:
    raise SandboxError("no bubblewrap here; install it")


def humaneval(subject: Subject, settings: Settings = SMALL) -> Done:
    data = find_data(suite("humaneval"), {}, [str(PROBLEMS)], run=None, alone=True)
    return evaluate(subject, suite("humaneval"), data, settings, in_process)


def test_a_result_says_what_it_was_measured_from(subject: Subject, model_folder: Path) -> None:
    done = humaneval(subject)
    result = done.result
    assert done.folder == subject.out / "evaluation" / f"humaneval-{result['identity'][:8]}"
    assert result["model"]["name"] == "tiny"
    assert result["data"]["files"][0]["name"] == "problems.jsonl"
    assert result["settings"]["n"] == 1
    assert result["settings"]["limits"]["cpu_seconds"] > 0
    assert result["scores"][0]["value"] == 1.0
    assert result["training_data"] is None
    assert sorted(path.name for path in done.folder.iterdir()) == ["evaluation.json"]


def test_the_same_request_gives_the_same_bytes_and_is_not_done_again(
    subject: Subject, tmp_path: Path
) -> None:
    first = humaneval(subject)
    assert first.is_new
    again = humaneval(subject)
    assert not again.is_new
    assert again.result == first.result
    elsewhere = humaneval(replace(subject, out=tmp_path / "elsewhere"))
    assert elsewhere.is_new
    pages = [(each.folder / "evaluation.json").read_bytes() for each in (first, elsewhere)]
    assert pages[0] == pages[1]


def test_another_setting_stands_beside_the_first(subject: Subject) -> None:
    first = humaneval(subject)
    second = humaneval(subject, replace(SMALL, seed=1))
    assert first.folder != second.folder
    assert [done.folder for done in results(subject.out)] == sorted([first.folder, second.folder])


def test_a_damaged_result_is_measured_again(subject: Subject) -> None:
    first = humaneval(subject)
    path = first.folder / "evaluation.json"
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    assert read_result(path) is None
    assert humaneval(subject).is_new
    assert path.read_bytes() == before


def test_two_at_once_is_refused(subject: Subject) -> None:
    with locked(subject.out / "evaluation"), pytest.raises(BusyError):
        humaneval(subject)


def test_without_a_sandbox_nothing_is_run_and_nothing_measured(subject: Subject) -> None:
    asked = [suite("humaneval"), suite("bits-per-byte")]
    run = each_suite(
        subject,
        asked,
        {"bits-per-byte": str(PROBLEMS.parent)},
        [str(PROBLEMS)],
        SMALL,
        no_sandbox,
        skip_missing=False,
    )
    # Two suites: the file does not have HumanEval's name, so it is named for its suite.
    with pytest.raises(InputError, match="humaneval: no data"):
        list(run)
    given = {"bits-per-byte": str(PROBLEMS.parent), "humaneval": str(PROBLEMS)}
    with pytest.raises(SandboxError, match="install it"):
        list(each_suite(subject, asked, given, [], SMALL, no_sandbox))
    assert not (subject.out / "evaluation").exists()


class Notes:
    """A progress that keeps what stays on the screen."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.task = SILENT.task

    def note(self, line: str) -> None:
        self.lines.append(line)


def all_suites(subject: Subject, run: Path | None, notes: Notes) -> Sequence[Done]:
    given = {"humaneval": str(PROBLEMS)}
    return list(
        each_suite(
            replace(subject, run=run),
            list(SUITES.values()),
            given,
            [],
            SMALL,
            in_process,
            notes,
            skip_missing=True,
        )
    )


def test_all_suites_measure_what_there_is_data_for_and_name_the_rest(subject: Subject) -> None:
    notes = Notes()
    done = all_suites(subject, None, notes)
    assert [each.suite for each in done] == ["humaneval"]
    skipped = {line.rpartition("[")[2].rstrip("]") for line in notes.lines}
    assert skipped == set(SUITES) - {"humaneval"}


def test_a_suite_whose_library_is_not_there_is_named_and_the_others_go_on(
    subject: Subject,
) -> None:
    def without_packages(of: Suite) -> AbstractContextManager[Judge]:
        return no_sandbox(of) if of.packages else in_process(of)

    given = {"humaneval": str(PROBLEMS), "pandas-eval": str(PROBLEMS)}
    asked = [suite("pandas-eval"), suite("humaneval")]
    notes = Notes()
    done = list(
        each_suite(subject, asked, given, [], SMALL, without_packages, notes, skip_missing=True)
    )
    assert [each.suite for each in done] == ["humaneval"]
    assert notes.lines == ["skipped: no bubblewrap here; install it [pandas-eval]"]
    with pytest.raises(SandboxError):
        list(each_suite(subject, asked, given, [], SMALL, without_packages))


def test_bad_rows_are_named_and_the_others_go_on(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"task_id": "Bad/0", "prompt": "x"}\n' + PROBLEMS.read_text())
    data = find_data(suite("humaneval"), {}, [str(path)], run=None, alone=True)
    notes = Notes()
    done = evaluate(subject, suite("humaneval"), data, SMALL, in_process, notes)
    assert done.result["num_problems"] == 3
    assert done.result["left_out"][0]["name"] == "bad.jsonl: row 1 (Bad/0)"
    assert "Bad/0) is left out: no column test" in notes.lines[0]


class Page(HTMLParser):
    """What a page would fetch or run, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.classes: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.classes += (values.get("class") or "").split()
        assert "src" not in values
        self.links.append(values.get("href") or "")


def test_the_pages_show_every_problem_and_fetch_nothing(subject: Subject, tmp_path: Path) -> None:
    given = {
        "bits-per-byte": str(Path(json.__file__).parent),
        "completion": str(Path(json.__file__).parent),
        "humaneval": str(PROBLEMS),
    }
    list(each_suite(subject, [suite(n) for n in given], given, [], SMALL, in_process))
    top = write_page(subject.out)
    overview = Page(top.read_text())
    assert sum(link.startswith("evaluation/") for link in overview.links) == 3
    assert all((subject.out / link).is_file() for link in overview.links if link[:1] == "e")
    for done in results(subject.out):
        text = (done.folder / "evaluation.html").read_text()
        page = Page(text)
        assert not {"script", "b", "img", "link"} & set(page.tags)
        if done.suite != "bits-per-byte":
            assert page.tags.count("details") == done.result["num_problems"]
        if done.suite == "humaneval":
            assert page.classes.count("right") >= 3
            assert "Own/1" in text
    before = [path.read_bytes() for path in sorted(subject.out.rglob("*.html"))]
    write_page(subject.out)
    assert [path.read_bytes() for path in sorted(subject.out.rglob("*.html"))] == before


def keys(values: Any) -> Iterator[str]:
    """Every key at every depth."""
    if isinstance(values, dict):
        for key, value in values.items():
            if key != "versions":
                yield key
                yield from keys(value)
    elif isinstance(values, list):
        for value in values:
            yield from keys(value)


def test_every_key_of_a_result_is_named_in_the_formats(subject: Subject) -> None:
    given = {
        "bits-per-byte": str(Path(json.__file__).parent),
        "completion": str(Path(json.__file__).parent),
        "humaneval": str(PROBLEMS),
    }
    done = list(each_suite(subject, [suite(n) for n in given], given, [], SMALL, in_process))
    text = FORMATS.read_text(encoding="utf-8").partition("## `evaluation/*/evaluation.json`")[2]
    named = set(re.findall(r"`(\w+)`", text.partition("\n## ")[0]))
    assert {key for each in done for key in keys(each.result)} - named == set()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    where = {"Path": lambda name: subject.out / name}
    exec(code[1].replace("from pathlib import Path\n", ""), where)


def test_a_copied_model_is_the_same_model(
    subject: Subject, model_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "another-name"
    shutil.copytree(model_folder, other)
    copied = replace(subject, folder=other, name="another-name")
    assert humaneval(subject).result["identity"] == humaneval(copied).result["identity"]
