"""User mistakes and system errors give one line and an exit code, no traceback."""

import ctypes
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import codeling
from codeling.cli.stages import parse_path
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train

Main = Callable[..., Any]


def complaint(answer: Any, code: int) -> str:
    """The only line on standard error that is not progress."""
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    lines = [line for line in answer.err.splitlines() if line.startswith("codeling: ")]
    assert len(lines) == 1, answer.err
    assert answer.err.endswith(lines[0] + "\n")
    return str(lines[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[training]\nstep = 5", 'tiny.toml: [training] unknown key "step"; did you mean "steps"?'),
        ("[training]\nsteps = -5", "[training] steps: input should be greater than 0 (got -5)"),
        ("[training", "not TOML"),
    ],
)
@pytest.mark.parametrize("subcommand", ["run", "corpus", "train"])
def test_a_wrong_recipe_is_one_line(
    main: Main, tmp_path: Path, text: str, words: str, subcommand: str
) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(text)
    check_recipe_is_refused(main, subcommand, path, words)


def test_a_wrong_device_is_one_line(main: Main, tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text("[training]\ndevice = 'tpu'")
    words = "device 'tpu': write auto, cpu, cuda, cuda:N or mps"
    check_recipe_is_refused(main, "run", path, words, "--dry-run")


def check_recipe_is_refused(
    main: Main, subcommand: str, recipe: Path, words: str, *options: str
) -> None:
    out = recipe.with_name("out")
    answer = main(subcommand, recipe, "--out", out, *options)
    line = complaint(answer, 2)
    assert words in line
    assert answer.out == ""
    assert answer.err == line + "\n"
    assert not out.exists()


def test_a_missing_recipe_is_one_line(main: Main, tmp_path: Path) -> None:
    line = complaint(main("run", tmp_path / "none.toml"), 2)
    assert line.endswith("none.toml: cannot be read (No such file or directory)")


def test_a_missing_source_is_one_line(main: Main, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('[corpus]\nsources = [{kind = "folder", path = "/nowhere/at/all"}]')
    line = complaint(main("run", path, "--out", tmp_path / "out"), 2)
    assert line == "codeling: corpus source /nowhere/at/all: no such folder"


@pytest.mark.parametrize("subcommand", ["complete", "trace"])
def test_a_path_that_is_not_a_model_is_one_line(
    main: Main, tmp_path: Path, subcommand: str
) -> None:
    (tmp_path / "prompt.py").write_text("x = 1\n")
    for folder in (tmp_path / "nowhere", tmp_path):
        answer = main(subcommand, folder, tmp_path / "prompt.py")
        complaint(answer, 2)


def test_truncated_weights_are_one_line(main: Main, finished: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(finished / "model", tmp_path / "model"))
    data = (model / "model.safetensors").read_bytes()
    for size in (0, 7, 1000, len(data) // 2, len(data) - 1):
        (model / "model.safetensors").write_bytes(data[:size])
        line = complaint(main("complete", model, "--prompt", "x"), 1)
        assert "model.safetensors: not a safetensors file, or damaged" in line


def test_a_tokenizer_of_another_model_is_one_line(
    main: Main, finished: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(finished / "model", tmp_path / "model"))
    text = "\n".join(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py")))
    for vocab_size in (700, 600, 500):  # more entries than the model, equally many, fewer
        train([text], TokenizerRecipe(vocab_size=vocab_size)).save(model / "tokenizer.json")
        line = complaint(main("complete", model, "--prompt", "x"), 1)
        assert "not the tokenizer that the model was trained with" in line
    (model / "tokenizer.json").write_text("{}")
    assert "tokenizer.json" in complaint(main("complete", model, "--prompt", "x"), 1)
    (model / "tokenizer.json").unlink()
    assert "tokenizer.json" in complaint(main("complete", model, "--prompt", "x"), 1)


def test_changed_merges_are_noticed_and_folders_of_the_first_version_accepted(
    main: Main, finished: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(finished / "model", tmp_path / "model"))
    original = (model / "tokenizer.json").read_text()
    values = json.loads(original)
    values["model"]["merges"].reverse()
    (model / "tokenizer.json").write_text(json.dumps(values))
    line = complaint(main("complete", model, "--prompt", "x"), 1)
    assert "not the tokenizer that the model was trained with" in line
    (model / "tokenizer.json").write_text(original)
    config = json.loads((model / "config.json").read_text())
    config["tokenizer_sha256"] = Tokenizer.load(model)._vocabulary_digest
    (model / "config.json").write_text(json.dumps(config))
    assert main("complete", model, "--prompt", "x", "--max-new-tokens", "1").code == 0


def test_a_file_in_place_of_the_folder_is_one_line(
    main: Main, recipe_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "inner"):
        line = complaint(main("corpus", recipe_file, "--out", out), 1)
        assert "a file exists where a folder is needed; choose another folder with --out" in line


def test_a_folder_name_that_is_too_long_is_one_line(
    main: Main, recipe_file: Path, tmp_path: Path
) -> None:
    assert "too long" in complaint(main("run", recipe_file, "--out", tmp_path / ("n" * 300)), 1)


def test_a_folder_that_cannot_be_created_is_one_line(
    main: Main, recipe_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    line = complaint(main("corpus", recipe_file, "--out", tmp_path / "loop" / "inner"), 1)
    assert "symbolic links form a loop; choose another folder with --out" in line
    if sys.platform == "linux":
        line = complaint(main("corpus", recipe_file, "--out", "/proc/none"), 1)
        assert "no folder can be created there; choose another folder with --out" in line
    line = complaint(main("corpus", recipe_file, "--out", "~no-such-user/run"), 2)
    assert "there is no such user" in line


def test_the_home_folder_is_expanded_in_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert parse_path("~/runs/a") == tmp_path / "runs" / "a"
    assert parse_path("runs/~a") == Path("runs/~a")


def test_a_folder_in_use_is_one_line(main: Main, recipe_file: Path, tmp_path: Path) -> None:
    from codeling.manifest import locked

    with locked(tmp_path):
        line = complaint(main("run", recipe_file, "--out", tmp_path), 1)
    assert "another codeling process uses this folder" in line


def test_a_broken_manifest_is_one_line(main: Main, recipe_file: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("[")
    assert "not the manifest" in complaint(main("run", recipe_file, "--out", tmp_path), 1)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small in-memory file system; skips where this process may not mount."""
    folder.mkdir(exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, options.encode()):
        pytest.skip(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        libc.umount2(os.fsencode(folder), 2)


def remount(folder: Path, flags: int, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    remount_flag = 32
    assert not libc.mount(
        b"none", os.fsencode(folder), b"tmpfs", remount_flag | flags, options.encode()
    )


def test_a_read_only_file_system_is_one_line(main: Main, recipe_file: Path, tmp_path: Path) -> None:
    read_only = 1
    with mounted(tmp_path / "disk", "size=8m"):
        remount(tmp_path / "disk", read_only, "size=8m")
        line = complaint(main("corpus", recipe_file, "--out", tmp_path / "disk" / "run"), 1)
    assert "read-only" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_line(
    main: Main, recipe_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    line = complaint(main("corpus", recipe_file, "--out", tmp_path / "locked" / "run"), 1)
    assert "no permission to write there" in line


@pytest.mark.parametrize(
    ("size", "finished_stages"),
    [
        ("4k", set()),
        ("256k", set()),
        ("2500k", {"corpus", "tokenizer", "tokens"}),
        pytest.param("3200k", {"corpus", "tokenizer", "tokens"}, marks=pytest.mark.proof),
    ],
)
def test_a_full_disk_is_one_line_and_the_run_can_be_resumed(
    main: Main,
    finished: Path,
    recipe_file: Path,
    tmp_path: Path,
    size: str,
    finished_stages: set[str],
) -> None:
    """During the corpus and during training; with more space the same command finishes."""
    out = tmp_path / "disk" / "run"
    with mounted(tmp_path / "disk", f"size={size}"):
        line = complaint(main("run", recipe_file, "--out", out), 1)
        assert "no space left on the disk; free some, then run the same command again" in line
        manifest = out / "manifest.json"
        done = json.loads(manifest.read_bytes())["stages"].keys() if manifest.exists() else set()
        assert done == finished_stages
        if size != "2500k":
            return
        remount(tmp_path / "disk", 0, "size=64m")
        answer = main("run", recipe_file, "--out", out)
        assert answer.code == 0, answer.err
        assert answer.err.count("unchanged, skipped") == 3
        ours, theirs = (f / "model" / "model.safetensors" for f in (out, finished))
        assert ours.read_bytes() == theirs.read_bytes()
        assert codeling.load(out).complete("x", max_new_tokens=2).ids


@pytest.mark.parametrize("content", [None, b"\xff\xfe\0", b"print 'Python 2'\n" * 9])
def test_a_corpus_without_python_is_one_line(
    main: Main, tmp_path: Path, content: bytes | None
) -> None:
    source = tmp_path / "code"
    source.mkdir()
    (source / "notes.txt").write_text("no Python")
    if content is not None:
        (source / "file.py").write_bytes(content)
    path = tmp_path / "r.toml"
    path.write_text(f'[corpus]\nsources = [{{kind = "folder", path = "{source}"}}]')
    line = complaint(main("run", path, "--out", tmp_path / "out"), 1)
    assert f"no Python in {source}" in line
    assert line.endswith(("no .py file found", "1)"))


def test_a_corpus_that_is_too_small_is_one_line(main: Main, tmp_path: Path) -> None:
    source = tmp_path / "code"
    source.mkdir()
    (source / "file.py").write_text("def mean(values):\n    return sum(values) / len(values)\n")
    path = tmp_path / "r.toml"
    path.write_text(f'[corpus]\nsources = [{{kind = "folder", path = "{source}"}}]')
    line = complaint(main("run", path, "--out", tmp_path / "out"), 1)
    assert "the validation split is empty: the corpus has too few files (train: 1)" in line


def test_hostile_files_are_counted_and_skipped(main: Main, tmp_path: Path) -> None:
    source = tmp_path / "code"
    source.mkdir()
    for i in range(4):
        (source / f"good_{i}.py").write_text(f"def f_{i}(x):\n    y = x + {i}\n    return y * x\n")
    files = {
        "wrong.py": b"s = '\xe9\xe8'  # no encoding is declared here at all\n",
        "codec.py": b"# coding: klingon\nx = 1  # long enough to be looked at\n",
        "nul.py": b"x = 1\0\ny = 2  # long enough to be looked at, nearly\n",
        "line.py": b"x = '" + b"a" * 1_200_000 + b"'\n",
        "python2.py": b"def f(x):\n    print 'old', x\n    return x, `x`\n",
        "broken.py": b"def f(x:\n    return [x\n\n\nclass A(\n    def g(self)\n",
    }
    for name, data in files.items():
        (source / name).write_bytes(data)
    (source / "loop").symlink_to(source)
    (source / "self.py").symlink_to(source / "self.py")
    os.mkfifo(source / "pipe.py")
    path = tmp_path / "r.toml"
    path.write_text(f'[corpus]\nsources = [{{kind = "folder", path = "{source}"}}]')
    answer = main("corpus", path, "--out", tmp_path / "out", "--json")
    assert (answer.code, answer.out.count("\n")) == (0, 1)
    assert "Traceback" not in answer.err
    report = json.loads((tmp_path / "out" / "corpus" / "report.json").read_bytes())
    assert report["totals"]["files"] == 4
    assert sum(dropped["files"] for dropped in report["files_dropped"].values()) == 9
