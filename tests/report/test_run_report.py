"""The report page: complete, self-contained, escaped, and clear about what is missing."""

import json
import shutil
import struct
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from codeling.errors import StorageError
from codeling.recipe import parse_recipe
from codeling.report import run_report
from codeling.report.corpus_section import MAX_SOURCES
from codeling.report.plots import Line, Plot
from codeling.report.plots import plots as draw_plots
from codeling.report.run_report import render, write_report

HOSTILE = (
    "</code></pre><script src='https://example.org/x.js'>alert(1)</script>\x00\x1b[31m\ud800&amp;"
)
VOID = {"meta", "br", "link", "img"}


class Page(HTMLParser):
    """Parsed page for the tests; fails if tags are not nested correctly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.shown = ""
        self.messages: list[str] = []
        """Texts of the paragraphs about missing or failed parts."""
        self._message: str | None = None
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "p" and {"missing", "failed"} & set((dict(attrs).get("class") or "").split()):
            self._message = ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "p" and self._message is not None:
            self.messages.append(self._message)
            self._message = None

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.shown += data
        if self._message is not None:
            self._message += data

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


_drawn: dict[str, list[Plot]] = {}


@pytest.fixture(autouse=True)
def draw_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most pages have the same plots, and drawing them takes most of a page's time."""

    def plots(steps: Sequence[Line], validations: Sequence[Line]) -> list[Plot]:
        key = repr((steps, validations))
        if key not in _drawn:
            _drawn[key] = draw_plots(steps, validations)
        return _drawn[key]

    monkeypatch.setattr(run_report, "plots", plots)


def write_lines(path: Path, lines: list[dict[str, Any]], torn: str = "") -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + torn)


def source(number: int, splits: list[str]) -> dict[str, Any]:
    return {
        "repository": f"package-{number}==1.0",
        "license": "" if number == 3 else "MIT",
        "splits": splits,
        "files": 10,
        "bytes": 1000 * (50 - number),
        "functions": 30,
    }


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run folder with every file that the page needs."""
    folder = tmp_path / "demo & more"
    (folder / "corpus").mkdir(parents=True)
    recipe = parse_recipe("[training]\nminutes = 2.5\n").resolved()
    (folder / "recipe.toml").write_text(recipe.to_toml())
    metrics: list[dict[str, Any]] = []
    for step in range(1, 41):
        line = {"step": step, "tokens": 8192 * step, "loss": 8 / step, "seconds": 2.0 * step}
        more = {"learning_rate": 1 - step / 40, "gradient_norm": 0.5, "tokens_per_second": 7200.0}
        metrics.append({"kind": "step", **line, **more, "mfu": 0.4})
        if step % 10 == 0:
            metrics.append({"kind": "validation", **line, "bits_per_byte": 3 / step})
    metrics[5]["loss"] = None
    write_lines(folder / "metrics.jsonl", metrics, torn='{"kind": "step", "st')
    samples = [
        {"step": step, "prompt": "def mean(xs):\n", "completion": f"    return {step}{HOSTILE}\n"}
        for step in (10, 20)
    ]
    write_lines(folder / "samples.jsonl", samples, torn="\x80{")
    counts = {"repositories": 2, "files": 10, "bytes": 100, "functions": 30}
    corpus_report = {
        "splits": {"test": counts, "train": {**counts, "bytes": 4_200_000}, "validation": counts},
        "totals": {"files_found": 60, "bytes_found": 9000, **counts},
        "files_dropped": {
            "too_large": {"files": 1, "bytes": 4000},
            "empty": {"files": 4, "bytes": 0},
        },
        "functions_dropped": {"duplicate": {"functions": 7, "bytes": 300}},
        "sources": [
            *(source(n, ["train"]) for n in range(40)),
            source(40, ["test"]),
            source(41, ["test", "train"]),
        ],
    }
    (folder / "corpus" / "report.json").write_text(json.dumps(corpus_report))
    bodies = [
        {
            "repository": "package", "path": f"{n}.py", "start_line": 1, "prompt": "def f():\n",
            "completion": HOSTILE if n == 0 else "    pass\n", "finish_reason": "block",
            "outcome": "broken" if n == 0 else "stub" if n <= 3 else "parsed",
        }
        for n in range(30)
    ]  # fmt: skip
    evaluation = {
        "bits_per_byte": {
            "value": 1.2345, "interval_95": [1.1, 1.3], "nats_per_token": 2.0, "precision": "fp32",
            "num_bytes": 2_000_000, "num_documents": 170, "num_repositories": 4,
        },
        "parse_rate": {
            "value": 26 / 30, "interval_95": [0.8, 0.99], "num_completions": 30, "num_parsed": 26,
            "num_broken": 1, "num_empty": 0, "num_out_of_tokens": 2, "samples": bodies,
            "num_stub": 3, "num_functions": 27,
        },
        "memory": {
            "num_bytes": 200_000, "num_tokens": 60_000, "num_documents": 30, "num_repositories": 4,
            "positions": [0, 64, 256, 1024, 4096],
            "rows": [
                {
                    "name": "model", "sources": [], "has_model": True, "bits_per_byte": 1.25,
                    "interval_95": [1.2, 1.3], "by_position": [1.3, 1.2, None],
                    "shares_by_position": [[1.0, 1.0, None]],
                },
                {
                    "name": "model + document", "sources": ["document"], "has_model": True,
                    "bits_per_byte": 1.0, "interval_95": None, "by_position": [1.1, 0.9, None],
                    "shares_by_position": [[0.75, 0.5, None], [0.25, 0.5, None]],
                },
                {
                    "name": "document", "sources": ["document"], "has_model": False,
                    "bits_per_byte": 1.75, "interval_95": None, "by_position": [1.9, 1.6, None],
                    "shares_by_position": [[0.5, 0.5, None], [0.5, 0.5, None]],
                },
            ],
        },
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    stage = {
        "seconds": 83.2, "finished": "2026-01-02T03:04:05Z", "git_commit": "c0ffee",
        "outputs": {"a": {"num_bytes": 5, "sha256": ""}}, "versions": {"torch": "2.13.0"},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "stages": {"corpus": stage}}))
    (folder / "tokens").mkdir()
    header = struct.pack("<8sIIQQ", b"CODELING", 1, 2, 170, 16_384_000)
    (folder / "tokens" / "train.idx").write_bytes(header)
    (folder / "model").mkdir()
    weights = {"a": np.zeros((1000, 262), np.float32), "b": np.zeros(2000, np.float32)}
    save_file(weights, folder / "model" / "model.safetensors")
    return folder


def test_everything_is_on_the_page_and_no_part_failed(run_folder: Path) -> None:
    assert write_report(run_folder) is True
    page = Page((run_folder / "report.html").read_text(encoding="utf-8"))
    assert page.tags.count("svg") == 5
    for expected in (
        "demo & more", "GPT-2 with 4 layers of width 192", "4.2 MB of Python from 2 repositories",
        "Training read 327,680 tokens, 2 % of the 16,384,000 tokens of the training split.",
        "1.234", "1.100 to 1.300", "86.7 %", "264k", "328k", "40 steps", "1 min 20 s", "7.2k",
        "170 files of 4 repositories",
        "30 bodies of 27 functions: 26 parsed with code, 3 without code, 1 not parsed, 0 empty;",
        "Step 20", "package-0==1.0", "not known",
        f"{42 - MAX_SOURCES} more", "too large", "44.4 %", "duplicate", "minutes = 2.5",
        "1 min 23 s", "2026-01-02 03:04:05 UTC", "c0ffee", "2.13.0", "12 of the 30 bodies",
    ):  # fmt: skip
        assert expected in page.shown, expected
    assert page.messages == []
    assert "could not be shown" not in page.shown


def test_the_page_loads_nothing(run_folder: Path) -> None:
    text, _ = render(run_folder)
    page = Page(text)
    assert not {"script", "iframe", "img", "object", "link", "base"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for name in ("href", "src", "xlink:href", "action"):
        assert all(value.startswith("#") for value in page.values(name))
    assert "@import" not in text
    assert "http" not in text.replace("https://example.org", "").replace("http-equiv", "")
    assert all(part.startswith("url(#") for part in text.split() if part.startswith("url("))


def test_ids_are_unique_and_references_resolve(run_folder: Path) -> None:
    page = Page(render(run_folder)[0])
    names = page.values("id")
    assert len(names) == len(set(names))
    targets = [value.removeprefix("#") for value in page.values("href")]
    clips = [value[5:-1] for value in page.values("clip-path")]
    assert targets
    assert clips
    assert {*targets, *clips, *page.values("aria-labelledby")} <= set(names)


def test_generated_text_is_escaped(run_folder: Path) -> None:
    assert write_report(run_folder)
    data = (run_folder / "report.html").read_bytes()
    assert b"<script" not in data
    assert b"\x00" not in data
    assert b"\x1b" not in data
    page = Page(data.decode("utf-8"))
    assert HOSTILE.partition("\x00")[0] in page.shown
    assert "\u2400\u241b[31m?&amp;" in page.shown


def test_the_same_files_give_the_same_bytes(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_report, "plots", draw_plots)  # both pages draw their own
    write_report(run_folder)
    copy = tmp_path / "elsewhere" / run_folder.name
    shutil.copytree(run_folder, copy)
    write_report(copy)
    assert (copy / "report.html").read_bytes() == (run_folder / "report.html").read_bytes()


PARTS = [
    "recipe.toml", "manifest.json", "metrics.jsonl", "samples.jsonl", "evaluation.json",
    "corpus/report.json",
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_file_is_named(
    run_folder: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if part != "metrics.jsonl":
        monkeypatch.setattr(run_report, "plots", lambda *_: [])  # plots are not under test here
    whole = len(Page(render(run_folder)[0]).shown)
    (run_folder / part).unlink()
    page = Page(render(run_folder)[0])
    assert page.messages == [f"{part} is missing."]
    assert 0 < len(page.shown) < whole


@pytest.mark.parametrize("part", ["model/model.safetensors", "tokens/train.idx"])
def test_a_run_without_weights_or_tokens_has_a_page(run_folder: Path, part: str) -> None:
    (run_folder / part).unlink()
    page = Page(render(run_folder)[0])
    assert page.messages == []
    assert "Training read 327,680 tokens" in page.shown


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"{", b"[]", b"null", b'{"stages": 3}', b'{"a": 1}\n[]\n7\n']
)
def test_a_damaged_file_is_named_and_affects_no_other_section(
    run_folder: Path, part: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    if part != "metrics.jsonl":
        monkeypatch.setattr(run_report, "plots", lambda *_: [])  # plots are not under test here
    (run_folder / part).write_bytes(content)
    page = Page(render(run_folder)[0])
    assert len(page.messages) == 1
    (message,) = page.messages
    named = f"{part} is damaged", f"{part} has no", "This part could not be shown: "
    assert message.startswith(named)


def test_an_evaluation_of_the_previous_version_is_shown(run_folder: Path) -> None:
    path = run_folder / "evaluation.json"
    evaluation = json.loads(path.read_text())
    for key in ("num_stub", "num_functions"):
        del evaluation["parse_rate"][key]
    evaluation["parse_rate"]["num_parsed"] = 29
    path.write_text(json.dumps(evaluation))
    page = Page(render(run_folder)[0])
    assert page.messages == []
    assert "30 bodies: 29 parsed, 1 not parsed, 0 empty;" in page.shown


def test_the_memory_is_shown_with_its_gain_and_its_shares(run_folder: Path) -> None:
    page = render(run_folder)[0]
    shown = Page(page).shown
    assert "model + document" in shown
    assert "-20.0 %" in shown
    assert "tokens 64 to 255" in shown
    assert "tokens 256" not in shown  # no file is that long
    assert 'aria-label="model 75 %, document 25 %"' in page


def test_an_evaluation_without_memory_is_shown(run_folder: Path) -> None:
    path = run_folder / "evaluation.json"
    evaluation = json.loads(path.read_text())
    del evaluation["memory"]
    path.write_text(json.dumps(evaluation))
    page = Page(render(run_folder)[0])
    assert page.messages == []
    assert "model + document" not in page.shown


def test_an_empty_log_is_not_a_damaged_one(run_folder: Path) -> None:
    (run_folder / "samples.jsonl").write_bytes(b"")
    assert Page(render(run_folder)[0]).messages == ["samples.jsonl has no sample yet."]


def test_an_error_in_a_section_is_shown_there(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty: dict[str, str] = {}
    monkeypatch.setattr(run_report, "plots", lambda *_: empty["<key>"])
    page = Page(render(run_folder)[0])
    assert page.messages == ["This part could not be shown: KeyError: '<key>'"]
    assert "170 files of 4 repositories" in page.shown


def test_a_run_that_has_just_started_has_a_page(tmp_path: Path) -> None:
    page = Page(render(tmp_path)[0])
    assert tmp_path.name in page.shown
    assert page.messages == [
        f"{name} is missing."
        for name in (
            "metrics.jsonl", "evaluation.json", "samples.jsonl", "corpus/report.json",
            "recipe.toml", "manifest.json",
        )
    ]  # fmt: skip
    line = {"kind": "step", "step": 1, "tokens": 8192, "loss": 8.3, "seconds": 1.0}
    write_lines(tmp_path / "metrics.jsonl", [line])
    assert Page(render(tmp_path)[0]).tags.count("svg") == 1


def test_without_matplotlib_the_page_has_no_plots(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(run_report, "plots", draw_plots)
    assert write_report(run_folder) is False
    page = Page((run_folder / "report.html").read_text(encoding="utf-8"))
    assert "svg" not in page.tags
    assert "need matplotlib" in page.shown
    assert "1.234" in page.shown


def test_an_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_report(tmp_path / "file")
