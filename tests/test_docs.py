"""The documents agree with the code: their examples are executed on a real run folder.

Every command and every Python block in the documents is executed and its output checked.
``docs/formats.md`` names every key, column and tensor of a real run. Every path and link exists.
"""

import ast
import fnmatch
import importlib
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from safetensors import safe_open

from codeling.corpus.build.pipeline import build
from codeling.progress import SILENT
from codeling.recipe import PRESETS, Recipe, parse_recipe, read_recipe
from codeling.run import STAGES

from .documented_commands import FENCED, OUTPUTS, ROOT, Shell, blocks, commands, make_folder
from .documented_run import RULES, make_run, rows_at_fault

pytestmark = pytest.mark.usefixtures("corpus_process")

SOURCE = ROOT / "src" / "codeling"
COURSE = ROOT.glob("docs/course/README*.md")
DOCUMENTS = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"), *COURSE])
FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
BLOCKS = blocks(FORMATS, "python")
README = (ROOT / "README.md").read_text(encoding="utf-8")


ALL_COMMANDS = [
    pytest.param(document.name, command, id=f"{document.name}: {command[:60]}")
    for document in DOCUMENTS
    if not document.name.endswith(".zh.md")  # tests/test_course.py holds them equal
    for command in commands(document.read_text(encoding="utf-8"))
]


@pytest.fixture(scope="module")
def documented_folder(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the documented commands are executed."""
    return make_folder(tmp_path_factory.mktemp("commands"), run_folder, README)


@pytest.mark.parametrize("name, command", ALL_COMMANDS)
def test_every_command_works_as_shown(
    name: str,
    command: str,
    documented_folder: Path,
    run_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shell = Shell(documented_folder, run_folder, monkeypatch)
    if name != "README.md":
        shell.measure_nothing()
    output = shell.output(command)
    pattern = next(found for begin, found in OUTPUTS.items() if command.startswith(begin))
    if not (name != "README.md" and "evaluate" in command):
        assert re.search(pattern, output), output


def test_the_readme_shows_every_kind_of_command() -> None:
    shown = {words[1] for words in map(str.split, commands(README)) if words[0] == "codeling"}
    assert {"complete", "trace", "evaluate", "demo", "run", "corpus", "doctor"} <= shown


@pytest.mark.parametrize("number", range(len(blocks(README, "python"))))
def test_the_readmes_python_prints_completions(
    number: int,
    documented_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = blocks(README, "python")[number]
    run_block(code, monkeypatch, documented_folder)
    output = capsys.readouterr().out
    if "transformers" in code:
        assert output.startswith("def mean(xs):\n")  # the rest is sampled and may be empty
    else:
        assert "Completion(" not in output
        assert output.strip()


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run on three packages and one file per drop reason."""
    return make_run(tmp_path_factory.mktemp("docs"))


def spans(text: str) -> set[str]:
    """Code spans outside fenced code."""
    return set(re.findall(r"`([^`\n]+)`", FENCED.sub("", text)))


def section(title: str) -> str:
    """The part of ``docs/formats.md`` under a heading, up to the next heading of its level."""
    start = re.search(rf"^(#+) `{re.escape(title)}`$", FORMATS, re.MULTILINE)
    assert start is not None, f"docs/formats.md has no section `{title}`"
    rest = FORMATS[start.end() :]
    end = re.search(rf"^#{{2,{len(start[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table_after(text: str, before: str) -> list[list[str]]:
    """Cells of the first table after ``before``, without its head."""
    rows = re.search(r"((?:^\|.*\n)+)", text[text.index(before) :], re.MULTILINE)
    assert rows is not None
    lines = rows[1].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def keys(value: Any) -> Iterator[str]:
    """Every key of every object in ``value``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def run_block(code: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    """Runs a block of the document in a run folder. Returns the names it defines."""
    monkeypatch.chdir(folder)
    if sys.version_info < (3, 11):
        monkeypatch.setitem(sys.modules, "tomllib", importlib.import_module("tomli"))
    names: dict[str, Any] = {"__name__": "formats"}
    exec(compile(code, "docs/formats.md", "exec"), names)
    return names


def block_with(text: str) -> str:
    found = [block for block in BLOCKS if text in block]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_block_of_the_formats_runs(
    number: int, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_block(BLOCKS[number], monkeypatch, run_folder)


def test_every_section_of_the_formats_has_a_block() -> None:
    parts = re.split(r"^## (?=`)", FORMATS, flags=re.MULTILINE)[1:]
    assert len(parts) == 18
    assert [part.partition("\n")[0] for part in parts if "```python" not in part] == []


def test_blocks_do_not_import_codeling() -> None:
    allowed = {*sys.stdlib_module_names, "tomllib", "numpy", "pyarrow", "safetensors"}
    for block in BLOCKS:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Import):
                assert {alias.name.partition(".")[0] for alias in node.names} <= allowed
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] in allowed


def test_the_encoding_block_agrees_with_the_tokenizer(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codeling.tokenizer.pretokenizer import cut
    from codeling.tokenizer.tokenizer import Tokenizer

    names = run_block(block_with("def encode_piece"), monkeypatch, run_folder)
    tokenizer = Tokenizer.load(run_folder / "tokenizer")
    text = Path(__file__).read_text(encoding="utf-8") + "naïve <|endoftext|>\t\r\n  €"
    ids = [i for piece in cut(text) for i in names["encode_piece"](piece)]
    assert ids == tokenizer.encode(text)
    assert names["decode"](ids) == text


def test_the_model_block_gives_the_logits_of_the_model(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from codeling.model.weights import load

    names = run_block(block_with("def logits"), monkeypatch, run_folder)
    network, config = load(run_folder / "model")
    ids = np.random.default_rng(0).integers(config.vocab_size, size=config.context_length)
    with torch.no_grad():
        expected = network(torch.from_numpy(ids)[None])[0].numpy()
    assert np.abs(names["logits"](ids) - expected).max() < 1e-4


def test_the_lookup_block_finds_what_trace_finds(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codeling.provenance.index import Index

    names = run_block(block_with("def look_up"), monkeypatch, run_folder)
    rare = 0
    for row in parquet.read_table(run_folder / "corpus/train/files-00000.parquet").to_pylist()[::9]:
        passage = "\n".join(row["content"].split("\n")[60:80])
        for match in Index.load(run_folder / "provenance").trace(passage, limit=1):
            length, repository, path, line, license_name = names["look_up"](passage)
            assert length <= match.num_lexemes
            if match.max_occurrences == 1:
                rare += 1
                assert (repository, path) == (match.repository, match.path)
                assert match.start_line <= line <= match.end_line
                assert license_name == match.license
    assert rare


def test_every_file_of_a_run_is_named(run_folder: Path) -> None:
    patterns = [re.sub(r"NNNNN|NAME", "*", span) for span in spans(FORMATS)]
    files = [path for path in run_folder.rglob("*") if path.is_file()]
    names = {path.relative_to(run_folder).as_posix() for path in files}
    assert {n for n in names if not any(fnmatch.fnmatchcase(n, p) for p in patterns)} == set()


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.jsonl"])
def test_every_key_of_a_log_is_named(name: str, run_folder: Path) -> None:
    lines = (run_folder / name).read_text(encoding="utf-8").splitlines()
    assert {key for line in lines for key in json.loads(line)} <= spans(section(name))


@pytest.mark.parametrize("name", ["corpus/report.json", "evaluation.json"])
def test_every_key_of_a_json_file_is_named(name: str, run_folder: Path) -> None:
    found = set(keys(json.loads((run_folder / name).read_bytes())))
    assert found - spans(section(name)) == set()


def test_every_key_of_the_tokenizer_is_named(run_folder: Path) -> None:
    stored = json.loads((run_folder / "tokenizer" / "tokenizer.json").read_bytes())
    found = {*stored, *stored["model"], *keys(stored["added_tokens"])}
    text = section("tokenizer/tokenizer.json")
    assert found - spans(text) == set()
    rows = table_after(text, "| id | token |")
    assert [(int(row[0]), row[1].strip("`").replace("\\", "")) for row in rows] == [
        (token["id"], token["content"]) for token in stored["added_tokens"]
    ]


def test_every_key_of_a_checkpoint_is_named(run_folder: Path) -> None:
    for folder in (run_folder / "checkpoints").iterdir():
        state = json.loads((folder / "state.json").read_bytes())
        assert set(keys(state)) - spans(section("checkpoints/*/state.json")) == set()
        manifest = json.loads((folder / "manifest.json").read_bytes())
        assert set(manifest) == spans(section("checkpoints/*/manifest.json"))


def test_every_key_of_the_manifest_is_named(run_folder: Path) -> None:
    manifest = json.loads((run_folder / "manifest.json").read_bytes())
    named = spans(section("manifest.json"))
    assert {*manifest, *manifest["stages"]} <= named
    assert set(manifest["stages"]) == {stage.name for stage in STAGES}
    for stage in manifest["stages"].values():
        assert set(stage) <= named
        inputs = {re.sub(r"^the (\w+) stage$", "the NAME stage", name) for name in stage["inputs"]}
        assert inputs <= named
        assert {key for record in stage["outputs"].values() for key in record} <= named


@pytest.mark.parametrize("table", ["files", "functions"])
def test_every_column_is_described_in_order_with_its_type(table: str, run_folder: Path) -> None:
    text = section(f"corpus/*/{table}-NNNNN.parquet")
    described = [
        (name, row[1])
        for row in table_after(text, "| column |")
        for name in re.findall(r"`(\w+)`", row[0])
    ]
    types = {"list<element: string>": "list of string"}
    for split in ("train", "validation", "test"):
        schema = parquet.read_schema(run_folder / "corpus" / split / f"{table}-00000.parquet")
        columns = [(field.name, str(field.type)) for field in schema]
        assert described == [(name, types.get(kind, kind)) for name, kind in columns]


@pytest.mark.parametrize("what", ["files", "functions"])
def test_documented_drop_reasons_are_those_that_occur(
    what: str, run_folder: Path, tmp_path: Path
) -> None:
    report = json.loads((run_folder / "corpus" / "report.json").read_bytes())
    found = set(report[f"{what}_dropped"])
    for i, settings in enumerate(RULES if what == "files" else ()):
        folders = (f'{{kind="folder", path="{run_folder.parent / n}"}}' for n in ("odd", "json"))
        source = f"sources=[{', '.join(folders)}]"
        lines = "\n".join(["[corpus]", source, *settings]).replace("{run}", str(run_folder))
        recipe = parse_recipe(lines)
        found |= set(build(recipe.corpus, tmp_path / str(i), SILENT)["files_dropped"])
    if what == "files":
        recipe = parse_recipe(rows_at_fault(tmp_path / "rows"))
        found |= set(build(recipe.corpus, tmp_path / "out", SILENT)["files_dropped"])
    heading = {
        "files": "| reason a file is dropped",
        "functions": "| reason a function is left out",
    }
    rows = table_after(section("corpus/report.json"), heading[what])
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert named == found


def test_every_tensor_is_named(run_folder: Path) -> None:
    newest = sorted((run_folder / "checkpoints").iterdir())[-1]
    with safe_open(newest / "model.safetensors", framework="numpy") as file:
        tensors = set(file.keys())
    text = section("checkpoints/*/model.safetensors")
    names = {re.sub(r"^h\.\d+", "h.n", name) for name in tensors}
    assert names == {span for span in spans(text) if span.endswith((".weight", ".bias"))}
    with safe_open(newest / "optimizer.safetensors", framework="numpy") as file:
        buffers = {re.sub("/.*/", "/PARAMETER/", name) for name in file.keys()}  # noqa: SIM118
    text = section("checkpoints/*/optimizer.safetensors")
    assert buffers == {span for span in spans(text) if re.match(r"(adamw|muon)/", span)}
    with safe_open(run_folder / "model" / "model.safetensors", framework="numpy") as file:
        assert {name.removeprefix("transformer.") for name in file.keys()} == tensors  # noqa: SIM118


@pytest.mark.parametrize("name", ["provenance/index.safetensors", "memory/corpus.safetensors"])
def test_every_table_is_named_with_its_type(name: str, run_folder: Path) -> None:
    with safe_open(run_folder / name, framework="numpy") as file:
        types = {each: file.get_slice(each).get_dtype() for each in file.keys()}  # noqa: SIM118
        (settings,) = map(json.loads, file.metadata().values())
    text = section(name)
    found = {re.sub(r"\.\d$", ".n", each): kind for each, kind in types.items()}
    assert {row[0].strip("`"): row[1] for row in table_after(text, "| tensor |")} == found
    for key, value in settings.items():
        assert re.search(rf"`{key}`\s(=\s{value}\b|\()", text)


@pytest.mark.parametrize("table", Recipe.model_fields)
def test_every_key_of_the_recipe_has_its_row_and_default(table: str) -> None:
    values = getattr(Recipe(), table).model_dump(mode="json")
    rows = table_after(section("recipe.toml"), f"**`[{table}]`**")
    described = {row[0].strip("`"): row[1] for row in rows}
    assert list(described) == list(values)
    for key, default in values.items():
        if default is not None and key != "sources":
            assert described[key] == f"`{json.dumps(default)}`"
        elif key != "sources":
            sized = any(key in preset.get(table, {}) for preset in PRESETS.values())
            assert described[key] == ("by `model.size`" if sized else "none")


def test_documented_sizes_are_those_of_the_presets() -> None:
    text = section("recipe.toml")
    head = re.findall(r"`(\w+)`", text[text.index("| `model.size` |") :].partition("\n")[0])
    rows = table_after(text, "| `model.size` |")
    assert [row[0].strip("`") for row in rows] == list(PRESETS)
    for row in rows:
        preset = PRESETS[row[0].strip("`")]
        values = {key: value for table in preset.values() for key, value in table.items()}
        assert dict(zip(head, map(float, row[1:]), strict=True)) == values


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_documented_path_exists(document: Path) -> None:
    # A word in capitals matches any name, as in tests/PACKAGE/test_MODULE.py.
    for span in spans(document.read_text(encoding="utf-8")):
        if re.fullmatch(r"(src|tests|docs|recipes|benchmarks)/[\w./*-]*", span):
            pattern = re.sub(r"[A-Z]{2,}", "*", span).rstrip("/")
            assert list(ROOT.glob(pattern)), f"{document.name} names {span}, which is not there"
        elif re.fullmatch(r"[a-z_]+/\w+\.py", span):
            assert (SOURCE / span).is_file(), f"{document.name} names {span}, which is not there"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_has_a_target(document: Path) -> None:
    text = FENCED.sub("", document.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), f"{document.name} links to {link}, which is not there"
        if anchor:
            assert anchor in _anchors(target), f"{document.name} links to {link}: no such heading"


def _anchors(document: Path) -> set[str]:
    """Anchors that a code host generates from a document's headings."""
    text = FENCED.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_module_has_a_docstring() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")}
    without = [
        path for path, text in texts.items() if text and not ast.get_docstring(ast.parse(text))
    ]
    assert without == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_documented_override_is_valid(document: Path) -> None:
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    for command in re.findall(r"codeling [a-z][^`\n]* --set [^`\n]*", text):
        words = shlex.split(command.partition(" #")[0])
        changes = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "--set"]
        changes = [each for each in changes if not re.search(r"=[A-Z]{2,}$", each)]
        recipe = next((word for word in words if word.endswith(".toml")), "recipes/demo.toml")
        read_recipe(ROOT / recipe, changes).resolved()
