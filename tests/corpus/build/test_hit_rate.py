"""The hit rate of keywords: counted by hand, regardless of other filters, and after a kill."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from codeling.corpus.build.executor import Executor
from codeling.corpus.build.hit_rate import summary
from codeling.corpus.build.pipeline import build
from codeling.progress import Advance
from codeling.recipe import CorpusRecipe
from codeling.report.corpus_section import hit_rate, totals

CODE = "def f{i}(rows):\n    total_{i} = sum(rows)\n    return total_{i}\n"
COURSE = ["pandas", "sklearn", "matplotlib", "seaborn"]


class Notes:
    """Keeps what is shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.details: list[str] = []

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "items") -> Iterator[Advance]:
        def advance(amount: int, detail: str = "", total: int | None = None) -> None:
            self.details.append(detail)

        yield advance

    def note(self, line: str) -> None:
        self.lines.append(line)


def write(tmp_path: Path) -> dict[str, Any]:
    """24 rows and 3 files. By hand: 25 have a text, 9 name a keyword, 6 import one."""
    texts: list[Any] = [CODE.replace("{i}", str(i)) for i in range(24)]
    for i in (0, 4, 8, 12):
        texts[i] = f"import pandas as pd\n{texts[i]}"
    texts[16] = f"# pandas, in words\n{texts[16]}"
    texts[17] = f"from sklearn import svm\n{texts[17]}"  # of a licence that is left out
    texts[18] = "pandas = 1\n"  # too small
    texts[19] = texts[4]  # a copy
    texts[20] = None  # no text
    rows = [
        {"repo_name": f"o/r{i}", "path": f"{i}.py", "content": text,
         "license": "gpl-3.0" if i == 17 else "mit"}
        for i, text in enumerate(texts)
    ]  # fmt: skip
    (tmp_path / "rows").mkdir()
    for start in (0, 12):
        lines = "".join(json.dumps(row) + "\n" for row in rows[start : start + 12])
        (tmp_path / "rows" / f"{start:02}.jsonl").write_text(lines)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text(f"x = 'seaborn'\n{texts[1]}# own\n")
    (tmp_path / "code" / "b.py").write_text(f"{texts[2]}# own\n")
    (tmp_path / "code" / "c.py").write_bytes(b"# pandas \xff\n")  # not UTF-8: no text
    return {
        "sources": [
            {"kind": "folder", "path": str(tmp_path / "code")},
            {"kind": "codeparrot", "paths": str(tmp_path / "rows")},
        ],
        "keywords": COURSE,
        "licenses": ["mit", "unknown"],
    }


def counted(report: dict[str, Any]) -> tuple[int, int]:
    return report["keywords"]["files_with_keyword"], report["keywords"]["files_searched"]


@pytest.mark.parametrize(("rule", "hits"), [("text", 9), ("imports", 6)])
def test_hits_are_counted_regardless_of_other_filters(rule: str, hits: int, tmp_path: Path) -> None:
    recipe = CorpusRecipe.model_validate({**write(tmp_path), "keywords_in": rule})
    notes = Notes()
    # Licence, size and copies take nothing away: rows 17, 18 and 19 count.
    report = build(recipe, tmp_path / "out", notes)
    assert counted(report) == (hits, 25)
    kept = report["totals"]["files"]
    assert kept == (6 if rule == "text" else 4)
    verb = "name" if rule == "text" else "import"
    sentence = (
        f"{hits} of 25 files ({4 * hits:.2f} %) {verb} pandas, sklearn, matplotlib or seaborn"
    )
    assert notes.lines[0].startswith(f"{sentence}; read at ")
    assert notes.lines[0].endswith(" MB/s")
    assert f"{hits / 25:.2%} with a keyword, " in notes.details[2]
    assert totals(report).endswith(f" {sentence}.")


def test_a_sample_counts_what_is_drawn(tmp_path: Path) -> None:
    values = write(tmp_path)
    values["sources"][1]["weight"] = 0.5
    report = build(CorpusRecipe.model_validate(values), tmp_path / "out", Notes())
    drawn = 27 - report["files_dropped"]["not_drawn"]["files"]
    assert counted(report)[1] < 25
    assert counted(report)[1] <= drawn


def test_without_keywords_nothing_is_counted(tmp_path: Path) -> None:
    values = {**write(tmp_path), "keywords": []}
    notes = Notes()
    report = build(CorpusRecipe.model_validate(values), tmp_path / "out", notes)
    assert report["keywords"] is None
    assert not [line for line in notes.lines if "read at" in line]


def test_a_resumed_build_counts_finished_partitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = CorpusRecipe.model_validate(write(tmp_path))
    original = Executor.map

    def stopping(self: Executor, name: str, *rest: Any) -> Iterator[str]:
        for number, answer in enumerate(original(self, name, *rest)):
            if name == "survey" and number == 2:
                raise KeyboardInterrupt
            yield answer

    with monkeypatch.context() as patch:
        patch.setattr(Executor, "map", stopping)
        with pytest.raises(KeyboardInterrupt):
            build(recipe, tmp_path / "out", Notes())
    notes = Notes()
    report = build(recipe, tmp_path / "out", notes)
    assert counted(report) == (9, 25)
    assert "9 of 25 files (36.00 %)" in " ".join(notes.lines)


def test_the_sentence_of_the_course() -> None:
    values = summary(CorpusRecipe(keywords=tuple(COURSE)), 18_593_791, 605_798)
    assert hit_rate(values) == (
        "605,798 of 18,593,791 files (3.26 %) name pandas, sklearn, matplotlib or seaborn"
    )
    one = summary(CorpusRecipe(keywords=("numpy",), keywords_in="imports"), 1, 1)
    assert hit_rate(one) == "1 of 1 file (100.00 %) imports numpy"
