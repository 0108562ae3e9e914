import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeling.corpus import document
from codeling.corpus.build import child
from codeling.corpus.build.executor import Executor
from codeling.corpus.build.pipeline import build
from codeling.errors import CorpusError, UsageError
from codeling.progress import SILENT, Advance
from codeling.recipe import CorpusRecipe

BODY = "def mean(values):\n    total = sum(values)\n    return total / len(values)\n"


def recipe(*paths: Path, **settings: object) -> CorpusRecipe:
    sources = [{"kind": "folder", "path": str(path)} for path in paths]
    return CorpusRecipe.model_validate({"sources": sources, **settings})


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every kind of file that has to be counted under a reason."""
    root = tmp_path_factory.mktemp("hostile") / "code"
    root.mkdir()
    for i in range(8):
        text = BODY.replace("mean", f"mean_{i}").replace("total", f"total_{i}")
        (root / f"good_{i}.py").write_text(text)
    files: dict[str, bytes] = {
        "crlf.py": b"\xef\xbb\xbf"
        b'def crlf(a):\r\n    """Say."""\r\n    return [a,\r\n        1]\r\n',
        "latin.py": "# coding: latin-1\ndef f(x):\n    y = 'é'\n    return x + y\n".encode(
            "latin-1"
        ),
        "copy_of_good_0.py": (root / "good_0.py").read_bytes().replace(b"    ", b"\t"),
        "wrong.py": b"s = '\xe9\xe8'  # no encoding is declared here at all\n",
        "unknown_codec.py": b"# coding: klingon\nx = 1  # long enough to be looked at\n",
        "nul.py": b"x = 1\0\ny = 2  # long enough to be looked at, nearly\n",
        "line.py": b"x = '" + b"a" * 10_000_000 + b"'\n",
        "line2.py": b"x = '" + b"a" * 5_000 + b"'\n",
        "python2.py": b"def f(x):\n    print 'old', x\n    return x, `x`\n",
        "broken.py": b"def f(x:\n    return [x\n\n\nclass A(\n    def g(self)\n",
        "deep.py": b"# some words\n" * 60 + b"x = " + b"(" * 300 + b")" * 300 + b"\n",
        "empty.py": b"",
        "blank.py": b"\n   \n\t\n" * 20,
        "tiny.py": b"x = 1\n",
        "table.py": b"TABLE = [\n" + b"    (0.25, 0.5, 1.0),\n" * 20 + b"]\n",
        "lines.py": b"# ===============================\n" * 20,
        "notes.txt": b"no Python",
    }
    for name, data in files.items():
        (root / name).write_bytes(data)
    (root / "loop").symlink_to(root)
    (root / "self.py").symlink_to(root / "self.py")
    (root / os.fsdecode(b"odd_\xff.py")).write_text(BODY.replace("mean", "odd"))
    return root


@pytest.fixture(scope="module")
def built(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    build(recipe(hostile), folder, SILENT)
    return folder


def read(folder: Path, table: document.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for split in document.SPLITS:
        for path in document.parts(folder, split, table):
            rows += pq.read_table(path).to_pylist()
    return rows


def test_everything_odd_is_counted_under_its_reason(built: Path) -> None:
    report = json.loads((built / "report.json").read_text())
    assert {name: count["files"] for name, count in report["files_dropped"].items()} == {
        "duplicate": 1,
        "empty": 2,
        "few_alphanumerics": 1,
        "few_letters": 1,
        "long_line": 1,
        "not_python3": 3,
        "nul_bytes": 1,
        "symlinked_folder": 1,
        "too_large": 1,
        "too_small": 1,
        "unreadable": 1,
        "wrong_encoding": 2,
    }
    totals = report["totals"]
    dropped = sum(count["files"] for count in report["files_dropped"].values())
    assert totals["files_found"] == totals["files"] + dropped
    assert report["split_by"] == "file"
    for key in ("files", "bytes", "functions", "function_bytes"):
        assert totals[key] == sum(split[key] for split in report["splits"].values())
        assert totals[key] == sum(source[key] for source in report["sources"])
    assert all(report["splits"][split]["files"] for split in document.SPLITS)


def test_tables_contain_the_kept_documents(built: Path) -> None:
    files = {row["path"]: row for row in read(built, "files")}
    assert (
        files["crlf.py"]["content"] == 'def crlf(a):\n    """Say."""\n    return [a,\n        1]\n'
    )
    assert "'é'" in files["latin.py"]["content"]
    # The copies of good_0 differ in white space; the first by path is kept.
    assert files["copy_of_good_0.py"]["copies"] == "2"
    assert "good_0.py" not in files
    assert "odd_\\xff.py" in files
    for row in files.values():
        assert row["size"] == str(len(row["content"].encode()))
        assert row["python3"]
    functions = {row["func_name"]: row for row in read(built, "functions")}
    crlf = functions["crlf"]
    assert crlf["func_documentation_string"] == "Say."
    assert crlf["func_code_string"] == crlf["whole_func_string"]
    assert (crlf["start_line"], crlf["end_line"]) == (1, 4)
    for row in functions.values():
        lines = files[row["func_path_in_repository"]]["content"].split("\n")
        text = "\n".join(lines[row["start_line"] - 1 : row["end_line"]])
        assert text.strip() == row["whole_func_string"]


def test_iterate_gives_the_rows_of_a_split(built: Path) -> None:
    documents = [d for s in document.SPLITS for d in document.iterate(built, s, "functions")]
    assert [d.text for d in documents] == [r["whole_func_string"] for r in read(built, "functions")]
    split_names = {row["split_name"] for row in read(built, "functions")}
    assert split_names <= {"train", "valid", "test"}


def test_a_second_build_has_the_same_bytes_whatever_was_there(
    built: Path, hostile: Path, tmp_path: Path
) -> None:
    stale = tmp_path / "train" / "files-00007.parquet"
    stale.parent.mkdir()
    stale.write_bytes(b"left by another attempt")
    (tmp_path / "train" / "files-00000.parquet.partial").write_bytes(b"half")
    report = build(recipe(hostile), tmp_path, SILENT)
    assert contents(tmp_path) == contents(built)
    assert report == json.loads((built / "report.json").read_text())
    assert str(hostile.parent) not in json.dumps(report)


def test_python2_is_kept_with_its_label_when_asked(hostile: Path, tmp_path: Path) -> None:
    report = build(recipe(hostile, require_python3=False), tmp_path, SILENT)
    assert "not_python3" not in report["files_dropped"]
    labels = {row["path"]: row["python3"] for row in read(tmp_path, "files")}
    assert labels["python2.py"] is False
    assert labels["latin.py"] is True
    assert any(r["func_path_in_repository"] == "python2.py" for r in read(tmp_path, "functions"))


def test_split_is_by_repository(tmp_path: Path) -> None:
    for i in range(40):
        for j in range(2):
            path = tmp_path / "all" / f"r{i}" / f"m{j}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(BODY.replace("mean", f"mean_{i}_{j}"))
        (tmp_path / "all" / f"r{i}" / ".git").mkdir()
    report = build(recipe(tmp_path / "all", test_share=0.1), tmp_path / "out", SILENT)
    assert report["split_by"] == "repository"
    assert all(len(source["splits"]) == 1 for source in report["sources"])
    assert [report["splits"][s]["repositories"] for s in document.SPLITS] == [35, 1, 4]


def test_nothing_to_train_on_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    with pytest.raises(CorpusError, match=r"no Python in .*texts: no \.py file found"):
        build(recipe(tmp_path / "texts"), tmp_path / "out", SILENT)
    (tmp_path / "texts" / "a.py").write_bytes(b"\0" * 100)
    with pytest.raises(CorpusError, match=r"1 file dropped \(nul_bytes 1\)"):
        build(recipe(tmp_path / "texts"), tmp_path / "out", SILENT)
    assert not (tmp_path / "out" / "report.json").exists()
    with pytest.raises(UsageError, match="no such folder"):
        build(recipe(tmp_path / "gone"), tmp_path / "out", SILENT)


def test_progress_counts_every_file(hostile: Path, tmp_path: Path) -> None:
    seen: dict[str, list[int]] = {}

    class Recorder:
        @contextmanager
        def task(
            self, label: str, total: int | None = None, unit: str = "items"
        ) -> Iterator[Advance]:
            assert unit == "bytes"
            seen[label] = [total or 0, 0]

            def advance(amount: int, detail: str = "", total: int | None = None) -> None:
                seen[label][1] += amount
                assert detail.endswith(" files/s")

            yield advance

        def note(self, line: str) -> None:
            notes.append(line)

    notes: list[str] = []
    report = build(recipe(hostile), tmp_path, Recorder())
    assert notes[0] == f"split by file: {report['split_rule']}"
    assert notes[0].endswith("by file because 1 project cannot fill three splits")
    assert notes[1].startswith("tokens in passages that train has as well: ")
    assert [note.partition(" split has only ")[0] for note in notes[2:]] == [
        "warning: the validation", "warning: the test"
    ]  # fmt: skip
    assert len(seen) == 2
    assert all(total == done > 0 for total, done in seen.values())


def rows_of(folder: Path) -> list[dict[str, str]]:
    """120 rows in codeparrot's columns, some with equal contents."""
    folder.mkdir()
    rows = []
    for i in range(120):
        text = BODY.replace("mean", f"mean_{i % 90}").replace("total", f"total_{i % 70}")
        values = {"repo_name": f"o/r{i % 11}", "path": f"m{i}.py", "content": text * (i % 3 + 1)}
        rows.append({**values, "copies": "1", "size": "0", "license": "mit"})
    return rows


def mixed(tmp_path: Path) -> CorpusRecipe:
    """A recipe over files and over rows in three shards."""
    rows = rows_of(tmp_path / "rows")
    lines = "".join(json.dumps(row) + "\n" for row in rows[:60]).encode()
    (tmp_path / "rows" / "a.json.gz").write_bytes(gzip.compress(lines[: len(lines) // 2]))
    (tmp_path / "rows" / "b.jsonl").write_bytes(lines)
    pq.write_table(
        pa.Table.from_pylist(rows[60:]), tmp_path / "rows" / "c.parquet", row_group_size=7
    )
    for i in range(30):
        path = tmp_path / "code" / f"r{i % 5}" / f"m{i}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(BODY.replace("mean", f"own_{i}"))
        (path.parent / ".git").mkdir(exist_ok=True)
    sources = [
        {"kind": "folder", "path": str(tmp_path / "code")},
        {"kind": "codeparrot", "paths": str(tmp_path / "rows"), "weight": 0.8},
    ]
    return CorpusRecipe.model_validate({"sources": sources, "test_share": 0.1})


def test_how_the_input_is_cut_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = mixed(tmp_path)
    report = build(settings, tmp_path / "out", SILENT)
    assert [problem["file"] for problem in report["problems"]] == ["a.json.gz"]

    def map_here(
        self: Executor,
        name: str,
        tasks: Sequence[str],
        settings: str = "",
        num_bytes: int = 0,
        heartbeats: Path | None = None,
    ) -> Iterator[str]:
        num_tasks.append(len(tasks))
        return (child.run_task(name, task, settings, str(tmp_path)) for task in tasks)

    num_tasks: list[int] = []
    monkeypatch.setattr(Executor, "map", map_here)  # in this process, so that the sizes apply
    for run_files, piece_bytes, batch_rows in ((1, 1, 1), (7, 3_000, 5), (1_000, 10**9, 10**9)):
        monkeypatch.setattr("codeling.corpus.sources.partitions.RUN_FILES", run_files)
        monkeypatch.setattr("codeling.corpus.sources.pieces.PIECE_BYTES", piece_bytes)
        monkeypatch.setattr("codeling.corpus.build.row_writer._BATCH_ROWS", batch_rows)
        again = tmp_path / f"out{run_files}"
        build(settings, again, SILENT)
        assert contents(again) == contents(tmp_path / "out")
    assert num_tasks[1] > num_tasks[4] > num_tasks[7]


def test_a_build_continues_from_its_finished_partitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeling.corpus.sources.partitions.RUN_FILES", 4)
    settings = mixed(tmp_path)
    build(settings, tmp_path / "whole", SILENT)
    answered: list[tuple[str, int]] = []
    original_map = Executor.map

    def failing(self: Executor, name: str, tasks: Sequence[str], *rest: Any) -> Iterator[str]:
        for answer in original_map(self, name, tasks, *rest):
            if name in failures and len(answered) > 5:
                raise KeyboardInterrupt
            answered.append((name, json.loads(answer)["number"] if name in kinds else 0))
            yield answer

    kinds = ("survey", "extraction")
    monkeypatch.setattr(Executor, "map", failing)
    out = tmp_path / "out"
    failures: tuple[str, ...] = ("survey",)
    with pytest.raises(KeyboardInterrupt):
        build(settings, out, SILENT)
    assert not (out / "report.json").exists()
    surveyed = {path.name for path in (out / "unfinished").glob("survey-*.arrow")}
    answered.clear()
    failures = ("extraction",)
    with pytest.raises(KeyboardInterrupt):
        build(settings, out, SILENT)
    again = {f"survey-{number:05d}.arrow" for name, number in answered if name == "survey"}
    assert surveyed
    assert not surveyed & again
    answered.clear()
    failures = ()
    build(settings, out, SILENT)
    assert "survey" not in {name for name, _ in answered}
    assert contents(out) == contents(tmp_path / "whole")


def test_another_recipe_does_not_continue_an_unfinished_build(tmp_path: Path) -> None:
    settings = mixed(tmp_path)
    build(settings, tmp_path / "whole", SILENT)
    work = tmp_path / "out" / "unfinished"
    work.mkdir(parents=True)
    (work / "key.json").write_text('{"format": 1, "sha256": "of another"}')
    (work / "survey-00000.arrow").write_bytes(b"of another")
    build(settings, tmp_path / "out", SILENT)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_opted_out_repositories_are_in_no_table(tmp_path: Path) -> None:
    settings = mixed(tmp_path)
    build(settings, tmp_path / "before", SILENT)
    gone = read(tmp_path / "before", "files")[3]["content"]
    listed = ["# remarks", "O/R3  # not this one", hashlib.sha256(gone.encode()).hexdigest(), ""]
    (tmp_path / "out.txt").write_text("\n".join(listed))
    values = {**settings.model_dump(), "opt_out": tmp_path / "out.txt"}
    report = build(CorpusRecipe.model_validate(values), tmp_path / "after", SILENT)
    assert report["files_dropped"]["opted_out"]["files"] > 1
    after = read(tmp_path / "after", "files")
    assert gone not in {row["content"] for row in after}
    assert "o/r3" not in {row["repo_name"] for row in after}
    assert "o/r3" not in {row["repository_name"] for row in read(tmp_path / "after", "functions")}
    values["opt_out"] = tmp_path / "nowhere.txt"
    with pytest.raises(UsageError, match=r"opt_out .*nowhere\.txt: cannot be read \(No such file"):
        build(CorpusRecipe.model_validate(values), tmp_path / "other", SILENT)


SCRIPT = """
import sys
from pathlib import Path
from codeling.corpus.build.pipeline import build
from codeling.progress import SILENT
from codeling.recipe import CorpusRecipe
sources = [{"kind": "folder", "path": sys.argv[1]}]
build(CorpusRecipe.model_validate({"sources": sources}), Path(sys.argv[2]), SILENT)
"""


def processes_naming(marker: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if marker.encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for orphans in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_build_leaves_no_process(number: signal.Signals, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    for i in range(400):  # enough bytes for worker processes
        (code / f"{i}.py").write_text(
            "\n".join(BODY.replace("mean", f"m{i}_{j}") for j in range(80))
        )
    marker = f"CORPUS_TEST_{tmp_path.name}_{os.getpid()}"
    command = [sys.executable, "-c", SCRIPT, str(code), str(tmp_path / "out")]
    process = subprocess.Popen(command, env={**os.environ, marker: "1"}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while len(processes_naming(marker)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(30) != 0
    while processes_naming(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_naming(marker) == []
    assert not (tmp_path / "out" / "report.json").exists()
