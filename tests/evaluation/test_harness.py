"""Suites on a model: results named by their inputs, measured once, resumed when interrupted."""

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
from codeling.evaluation.data.lookup import DataSources
from codeling.evaluation.harness import (
    EvaluatedModel,
    SuiteResult,
    evaluate_suite,
    evaluate_suites,
    finished_results,
    read_result,
)
from codeling.evaluation.samples_page import write_page
from codeling.evaluation.suites.registry import SUITES, find_suite
from codeling.evaluation.suites.suite import EvaluationSettings, Judge, ProgramRequirements
from codeling.manifest import locked
from codeling.model import weights
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.progress import SILENT
from codeling.run_folder import RunFolder
from codeling.tokenizer.tokenizer import Tokenizer

from .conftest import PROBLEMS, InProcess, Scripted

FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"
SMALL = EvaluationSettings(max_new_tokens=24, limit=6, max_bytes=3000)


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
        pad_id=tokenizer.padding,
        suppressed_ids=[],
        tokenizer_digest=tokenizer.digest,
    )
    return folder


@pytest.fixture
def model(model_folder: Path, tmp_path: Path) -> EvaluatedModel:
    loaded = EvaluatedModel.load(str(model_folder), tmp_path / "out", "cpu")
    answer = {
        json.loads(line)["prompt"]: json.loads(line)["canonical_solution"]
        for line in PROBLEMS.read_text().splitlines()
    }

    def script(prompt: str, suffix: str | None, number: int) -> str:
        given = answer.get(prompt, "    return <b>&\n")
        return str(given[-1] if isinstance(given, list) else given)

    return replace(loaded, engine=Scripted(script, loaded.engine.tokenizer))


def in_process(programs: ProgramRequirements) -> AbstractContextManager[Judge]:
    return nullcontext(InProcess())


def no_sandbox(programs: ProgramRequirements) -> AbstractContextManager[Judge]:
    raise SandboxError("no bubblewrap here; install it")


def humaneval(model: EvaluatedModel, settings: EvaluationSettings = SMALL) -> SuiteResult:
    suite = find_suite("humaneval")
    data = suite.find_data(DataSources({"humaneval": str(PROBLEMS)}))
    return evaluate_suite(model, suite, data, settings, in_process)


def test_a_result_records_its_inputs(model: EvaluatedModel, model_folder: Path) -> None:
    done = humaneval(model)
    result = done.values
    assert done.folder == model.out / "evaluation" / f"humaneval-{result['identity'][:8]}"
    assert result["model"]["name"] == "tiny"
    assert result["data"]["files"][0]["name"] == "problems.jsonl"
    assert result["settings"]["n"] == 1
    assert result["settings"]["limits"]["cpu_seconds"] > 0
    assert result["scores"][0]["value"] == 1.0
    assert result["training_data"] is None
    assert sorted(path.name for path in done.folder.iterdir()) == ["evaluation.json"]


def test_the_same_request_gives_the_same_bytes_and_is_measured_once(
    model: EvaluatedModel, tmp_path: Path
) -> None:
    first = humaneval(model)
    assert first.is_new
    again = humaneval(model)
    assert not again.is_new
    assert again.values == first.values
    elsewhere = humaneval(replace(model, out=tmp_path / "elsewhere"))
    assert elsewhere.is_new
    pages = [(each.folder / "evaluation.json").read_bytes() for each in (first, elsewhere)]
    assert pages[0] == pages[1]


def test_another_setting_gets_its_own_folder(model: EvaluatedModel) -> None:
    first = humaneval(model)
    second = humaneval(model, replace(SMALL, seed=1))
    assert first.folder != second.folder
    assert [done.folder for done in finished_results(model.out)] == sorted(
        [first.folder, second.folder]
    )


def test_a_damaged_result_is_measured_again(model: EvaluatedModel) -> None:
    first = humaneval(model)
    path = first.folder / "evaluation.json"
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    assert read_result(path) is None
    assert humaneval(model).is_new
    assert path.read_bytes() == before


def test_two_processes_in_one_folder_are_refused(model: EvaluatedModel) -> None:
    with locked(model.out / "evaluation"), pytest.raises(BusyError):
        humaneval(model)


def test_without_a_sandbox_nothing_is_run_or_measured(model: EvaluatedModel) -> None:
    suites = [find_suite("humaneval"), find_suite("bits-per-byte")]
    texts = {"bits-per-byte": str(PROBLEMS.parent)}
    # With two suites, a file without HumanEval's name needs the suite's name before it.
    run = evaluate_suites(model, suites, DataSources(texts, [str(PROBLEMS)]), SMALL, no_sandbox)
    with pytest.raises(InputError, match="humaneval: no data"):
        list(run)
    given = DataSources(texts | {"humaneval": str(PROBLEMS)})
    with pytest.raises(SandboxError, match="install it"):
        list(evaluate_suites(model, suites, given, SMALL, no_sandbox))
    assert not (model.out / "evaluation").exists()


class Notes:
    """A progress that keeps its notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.task = SILENT.task

    def note(self, line: str) -> None:
        self.lines.append(line)


def all_suites(model: EvaluatedModel, run: Path | None, notes: Notes) -> Sequence[SuiteResult]:
    return list(
        evaluate_suites(
            replace(model, run=RunFolder(run) if run else None),
            list(SUITES.values()),
            DataSources({"humaneval": str(PROBLEMS)}),
            SMALL,
            in_process,
            notes,
            skip_missing=True,
        )
    )


def test_suites_without_data_are_skipped_by_name(model: EvaluatedModel) -> None:
    notes = Notes()
    done = all_suites(model, None, notes)
    assert [each.suite for each in done] == ["humaneval"]
    skipped = {line.rpartition("[")[2].rstrip("]") for line in notes.lines}
    assert skipped == set(SUITES) - {"humaneval"}


def test_a_suite_whose_library_is_missing_is_skipped_by_name(
    model: EvaluatedModel,
) -> None:
    def without_packages(programs: ProgramRequirements) -> AbstractContextManager[Judge]:
        return no_sandbox(programs) if programs.packages else in_process(programs)

    given = DataSources({"humaneval": str(PROBLEMS), "pandas-eval": str(PROBLEMS)})
    suites = [find_suite("pandas-eval"), find_suite("humaneval")]
    notes = Notes()
    done = list(
        evaluate_suites(model, suites, given, SMALL, without_packages, notes, skip_missing=True)
    )
    assert [each.suite for each in done] == ["humaneval"]
    assert notes.lines == ["skipped: no bubblewrap here; install it [pandas-eval]"]
    with pytest.raises(SandboxError):
        list(evaluate_suites(model, suites, given, SMALL, without_packages))


def test_bad_rows_are_named_and_left_out(model: EvaluatedModel, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"task_id": "Bad/0", "prompt": "x"}\n' + PROBLEMS.read_text())
    suite = find_suite("humaneval")
    data = suite.find_data(DataSources({"humaneval": str(path)}))
    notes = Notes()
    done = evaluate_suite(model, suite, data, SMALL, in_process, notes)
    assert done.values["num_problems"] == 3
    assert done.values["left_out"][0]["name"] == "bad.jsonl: row 1 (Bad/0)"
    assert "Bad/0) is left out: no column test" in notes.lines[0]


class Page(HTMLParser):
    """The tags, classes and links of a page."""

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


def test_the_pages_show_every_problem_and_fetch_nothing(
    model: EvaluatedModel, tmp_path: Path
) -> None:
    given = {
        "bits-per-byte": str(Path(json.__file__).parent),
        "completion": str(Path(json.__file__).parent),
        "humaneval": str(PROBLEMS),
    }
    list(
        evaluate_suites(
            model, [find_suite(n) for n in given], DataSources(given), SMALL, in_process
        )
    )
    top = write_page(model.out)
    overview = Page(top.read_text())
    assert sum(link.startswith("evaluation/") for link in overview.links) == 3
    assert all((model.out / link).is_file() for link in overview.links if link[:1] == "e")
    for done in finished_results(model.out):
        text = (done.folder / "evaluation.html").read_text()
        page = Page(text)
        assert not {"script", "b", "img", "link"} & set(page.tags)
        if done.suite != "bits-per-byte":
            assert page.tags.count("details") == done.values["num_problems"]
        if done.suite == "humaneval":
            assert page.classes.count("right") >= 3
            assert "Own/1" in text
    before = [path.read_bytes() for path in sorted(model.out.rglob("*.html"))]
    write_page(model.out)
    assert [path.read_bytes() for path in sorted(model.out.rglob("*.html"))] == before


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


def test_every_key_of_a_result_is_named_in_the_formats(model: EvaluatedModel) -> None:
    given = {
        "bits-per-byte": str(Path(json.__file__).parent),
        "completion": str(Path(json.__file__).parent),
        "humaneval": str(PROBLEMS),
    }
    done = list(
        evaluate_suites(
            model, [find_suite(n) for n in given], DataSources(given), SMALL, in_process
        )
    )
    text = FORMATS.read_text(encoding="utf-8").partition("## `evaluation/*/evaluation.json`")[2]
    named = set(re.findall(r"`(\w+)`", text.partition("\n## ")[0]))
    assert {key for each in done for key in keys(each.values)} - named == set()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    where = {"Path": lambda name: model.out / name}
    exec(code[1].replace("from pathlib import Path\n", ""), where)


def test_a_copied_model_is_the_same_model(
    model: EvaluatedModel, model_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "another-name"
    shutil.copytree(model_folder, other)
    copied = replace(model, folder=other, name="another-name")
    assert humaneval(model).values["identity"] == humaneval(copied).values["identity"]
