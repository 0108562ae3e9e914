"""Data sets by name, read from a stand-in of the Hub over HTTP: its API and its files."""

import gzip
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeling.corpus import document
from codeling.corpus.build.pipeline import build
from codeling.corpus.sources.hub_listing import how_to_copy, list_hub
from codeling.errors import CorpusError
from codeling.progress import SILENT
from codeling.recipe import CorpusRecipe
from codeling.recipe.sources import CODEPARROT, CODEPARROT_DS, CODESEARCHNET

CSN, PARROT = "code-search-net/code_search_net", "codeparrot/codeparrot-clean"
REVISIONS = {CSN: CODESEARCHNET.partition("@")[2][:40], PARROT: CODEPARROT.partition("@")[2][:40]}


def file_row(number: int) -> dict[str, str]:
    text = f"def f{number}(a):\n    b_{number} = a + {number}\n    return b_{number}\n"
    return {"repo_name": f"o/r{number}", "path": "a.py", "copies": "1", "size": "0",
            "content": text, "license": "mit"}  # fmt: skip


def function_row(number: int, split: str) -> dict[str, Any]:
    text = f"def g{number}(a):\n    c_{number} = a * {number}\n    return c_{number}\n"
    return {"repository_name": f"o/r{number}", "func_path_in_repository": "a.py",
            "func_name": f"g{number}", "whole_func_string": text, "language": "python",
            "func_code_string": text, "func_code_tokens": ["def"],
            "func_documentation_string": "", "func_documentation_string_tokens": [],
            "split_name": split, "func_code_url": ""}  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """The API of data sets (``/api/datasets/OWNER/NAME/…``) and their files (``…/resolve/…``)."""

    top: Path
    asked: list[str]
    broken: set[str] = set()  # noqa: RUF012 - shared by design
    """Names of files that cannot be had."""
    refusals: list[int] = []  # noqa: RUF012 - shared by design
    """Status codes of the next answers of the API."""

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        self.asked.append("/".join(parts))
        if parts[0] == "api" and self.refusals:
            self.send_response(self.refusals.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif parts[0] == "api" and "tree" not in parts:
            self.answer(json.dumps({"id": "/".join(parts[2:4])}).encode(), "application/json")
        elif parts[0] == "api":
            _, _, owner, name, _, revision, *rest = parts
            root = self.top / owner / name / revision
            entries = [
                {"type": "file", "path": path.relative_to(root).as_posix(), "oid": "0" * 40,
                 "size": path.stat().st_size}
                for path in sorted((root / "/".join(rest)).rglob("*")) if path.is_file()
            ]  # fmt: skip
            self.answer(json.dumps(entries).encode(), "application/json")
        else:
            _, owner, name, _, revision, *rest = parts
            if rest[-1] in self.broken:
                self.send_response(403)  # which nobody repeats, unlike 503
                self.end_headers()
                return
            self.answer((self.top / owner / name / revision / "/".join(rest)).read_bytes(), "")

    do_HEAD = do_GET  # noqa: N815

    def answer(self, data: bytes, kind: str) -> None:
        asked, size = self.headers.get("Range", ""), len(data)
        if asked.startswith("bytes="):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start = int(first) if first else size - int(last)
            end = int(last) + 1 if first and last else size
            data = data[start:end]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{start + len(data) - 1}/{size}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    """One server for all tests: a new address would need a new corpus process."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ThreadingHTTPServer) -> Path:
    """The folder of a stand-in of the Hub: ``OWNER/NAME/REVISION/FILE``."""
    server.RequestHandlerClass = type("OneHub", (Handler,), {"top": tmp_path / "hub", "asked": []})
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    return tmp_path / "hub"


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def built(source: dict[str, Any], out: Path) -> dict[str, set[str]]:
    recipe = CorpusRecipe.model_validate({"sources": [source], "test_functions": True})
    build(recipe, out, SILENT)
    table: document.Table = "functions" if source["kind"] == "codesearchnet" else "files"
    return {
        split: {each.repository for each in document.iterate(out, split, table)}
        for split in document.SPLITS
    }


def test_each_data_set_is_found_by_its_name(stand_in: Path, tmp_path: Path) -> None:
    files = {
        stand_in / CSN / REVISIONS[CSN] / f"python/{name}-00000-of-00001.parquet": [
            function_row(number, split)
        ]
        for number, (name, split) in enumerate(
            (("train", "train"), ("validation", "valid"), ("test", "test"))
        )
    }
    for number in range(1, 5):
        name = f"file-{number:012}.json.gz"
        files[stand_in / PARROT / REVISIONS[PARROT] / name] = [file_row(number)]
    for number, name in ((5, "train"), (6, "valid")):
        files[stand_in / f"huggingface-course/codeparrot-ds-{name}/main/rows.json.gz"] = [
            file_row(number)
        ]
    for path, rows in files.items():
        write(path, rows)
    other = stand_in / CSN / REVISIONS[CSN] / "java" / "train-00000-of-00001.parquet"
    write(other, [function_row(9, "train")])
    assert built({"kind": "codesearchnet", "split": "published"}, tmp_path / "csn") == {
        "train": {"o/r0"}, "validation": {"o/r1"}, "test": {"o/r2"}
    }  # fmt: skip
    parrot = built({"kind": "codeparrot"}, tmp_path / "parrot")
    assert set().union(*parrot.values()) == {f"o/r{number}" for number in range(1, 5)}
    assert built({"kind": "codeparrot-ds"}, tmp_path / "ds") == {
        "train": {"o/r5"}, "validation": {"o/r6"}, "test": set()
    }  # fmt: skip


def test_a_commit_in_the_address_is_the_one_that_is_read(stand_in: Path, tmp_path: Path) -> None:
    commit, paths = "0123456789abcdef" * 2 + "01234567", []
    for number, name in ((1, "train"), (2, "valid")):
        repository = f"huggingface-course/codeparrot-ds-{name}"
        write(stand_in / repository / commit / "rows.json.gz", [file_row(number)])
        paths.append(f"hf://datasets/{repository}@{commit}")
    assert built({"kind": "codeparrot-ds", "paths": paths}, tmp_path / "ds") == {
        "train": {"o/r1"}, "validation": {"o/r2"}, "test": set()
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["codesearchnet", "codeparrot", "codeparrot-ds"])
def test_paths_override_the_hub(kind: str, tmp_path: Path) -> None:
    row = function_row(1, "valid") if kind == "codesearchnet" else file_row(1)
    for split in ("train", "valid"):
        write(tmp_path / "copy" / f"{split}.parquet", [{**row, "split_name": split}])
        row = function_row(2, "train") if kind == "codesearchnet" else file_row(2)
    source = {"kind": kind, "paths": str(tmp_path / "copy"), "split": "published"}
    assert built(source, tmp_path / "out") == {
        "train": {"o/r1"}, "validation": {"o/r2"}, "test": set()
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["codesearchnet", "codeparrot", "codeparrot-ds"])
def test_an_unreachable_source_is_one_line_that_says_how_to_copy_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(CorpusError) as caught:
        built({"kind": kind}, tmp_path)
    addresses = {"codesearchnet": [CODESEARCHNET], "codeparrot": [CODEPARROT]}.get(
        kind, list(CODEPARROT_DS)
    )
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"corpus source {', '.join(addresses)}: cannot be listed (")
    assert line.endswith(f"; {how_to_copy(addresses)}")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that this process would have waited; it does not."""
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


def test_without_a_network_nobody_waits(
    monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Exception, match="refused"):
        list(list_hub("hf://datasets/a/b/x.parquet"))
    assert waits == []


def test_a_busy_hub_is_asked_again(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    write(stand_in / "a" / "b" / "main" / "x.parquet", [file_row(1)])
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", os.environ["HF_ENDPOINT"])
    monkeypatch.setattr(Handler, "refusals", [503, 503])
    assert [address for address, _, _ in list_hub("hf://datasets/a/b/x.parquet")] == [
        "hf://datasets/a/b/x.parquet"
    ]
    assert waits == [1]


def test_a_file_that_cannot_be_read_stops_the_build_with_one_line(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rows are missing silently; finished work is kept, and the same command continues."""
    names = [f"file-{number:012}.json.gz" for number in (11, 12)]  # in no other test
    for number, name in enumerate(names):
        write(stand_in / PARROT / REVISIONS[PARROT] / name, [file_row(number)])
    monkeypatch.setattr(Handler, "broken", {names[1]})
    with pytest.raises(CorpusError) as caught:
        built({"kind": "codeparrot"}, tmp_path / "out")
    line = str(caught.value)
    assert "\n" not in line
    assert names[1] in line
    assert line.endswith(f"run the same command again, or {how_to_copy([CODEPARROT])}")
    monkeypatch.setattr(Handler, "broken", set())
    found = built({"kind": "codeparrot"}, tmp_path / "out")
    assert set().union(*found.values()) == {"o/r0", "o/r1"}


def test_the_way_to_a_copy_names_revision_and_files() -> None:
    assert how_to_copy(["hf://datasets/a/b@v1/x/*.gz"]) == (
        "where there is a network, run `hf download a/b --repo-type dataset --revision v1 "
        "--include 'x/*.gz' --local-dir b`; then set paths = [\"b\"] in the source"
    )
    assert how_to_copy(CODEPARROT_DS).endswith(
        'set paths = ["codeparrot-ds-train", "codeparrot-ds-valid"] in the source'
    )
