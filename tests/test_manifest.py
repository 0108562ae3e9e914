import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codeling.errors import BusyError, InputError, StorageError
from codeling.manifest import (
    Manifest,
    locked,
    remove_partials,
    replacing,
    sha256_file,
    write_bytes,
    write_json,
)

ROOT = Path(__file__).parents[1]


def recorded(folder: Path) -> Manifest:
    (folder / "out").mkdir()
    (folder / "out" / "a.bin").write_bytes(b"aaaa")
    manifest = Manifest(folder)
    manifest.record("one", {"t.k": 1}, {"the zero stage": "12"}, [folder / "out" / "a.bin"], 1.5)
    return Manifest(folder)


@pytest.mark.parametrize(
    ("settings", "inputs", "reason"),
    [
        ({"t.k": 1}, {"the zero stage": "12"}, None),
        ({"t.k": 2}, {"the zero stage": "12"}, "t.k changed from 1 to 2"),
        ({"t.k": None}, {"the zero stage": "12"}, "t.k changed from 1 to null"),
        ({"t.k": 1, "t.l": "x"}, {"the zero stage": "12"}, 't.l changed from null to "x"'),
        ({"t.k": 1}, {"the zero stage": "13"}, "the zero stage changed"),
        ({"t.k": 1}, {"the zero stage": "12", "more": "1"}, "more changed"),
    ],
)
def test_the_reason_to_run_is_named(
    tmp_path: Path, settings: dict[str, object], inputs: dict[str, str], reason: str | None
) -> None:
    assert recorded(tmp_path).reason_to_run("one", settings, inputs) == reason


def test_a_changed_or_missing_file_is_a_reason_to_run(tmp_path: Path) -> None:
    manifest, given = recorded(tmp_path), ({"t.k": 1}, {"the zero stage": "12"})
    assert manifest.reason_to_run("two", *given) == "not done yet"
    for data in (b"aaab", b"aaa"):
        (tmp_path / "out" / "a.bin").write_bytes(data)
        assert manifest.reason_to_run("one", *given) == "out/a.bin is damaged"
    (tmp_path / "out" / "a.bin").unlink()
    assert manifest.reason_to_run("one", *given) == "out/a.bin is missing"
    manifest.invalidate("one")
    assert Manifest(tmp_path).reason_to_run("one", *given) == "not done yet"


def test_the_digest_of_a_stage_depends_on_its_files(tmp_path: Path) -> None:
    manifest = recorded(tmp_path)
    assert manifest.stages["one"].outputs["out/a.bin"].sha256 == hashlib.sha256(b"aaaa").hexdigest()
    before = manifest.digest("one")
    (tmp_path / "out" / "a.bin").write_bytes(b"bbbb")
    manifest.record("one", {}, {}, [tmp_path / "out" / "a.bin"], 0.0)
    assert manifest.digest("one") != before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stages": 3}', '{"stages": {"a": {"x": 1}}}'])
def test_a_broken_manifest_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="choose another folder with --out") as caught:
        Manifest(tmp_path)
    assert "not the manifest of a run folder" in str(caught.value)
    assert "not the manifest of a run folder" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_replacing_is_atomic(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_bytes(path, b"old")
    with pytest.raises(KeyError), replacing(path) as partial:  # noqa: PT012
        partial.write_bytes(b"half")
        assert path.read_bytes() == b"old"
        raise KeyError
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"
    with replacing(path) as partial:
        partial.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_replaced_files_have_the_mode_of_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "file") as partial:
        partial.unlink()
        os.close(os.open(partial, os.O_CREAT | os.O_WRONLY, 0o600))
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_unwritable_path_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a file exists where a folder is needed"):
        write_bytes(tmp_path / "file" / "inner", b"")
    with pytest.raises(StorageError), locked(tmp_path / "file"):
        pass


def test_equal_values_give_equal_json_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"b": 1, "a": "é"})
    write_json(tmp_path / "b", {"a": "é", "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_bytes()) == {"a": "é", "b": 1}
    assert sha256_file(tmp_path / "a") == sha256_file(tmp_path / "b")


def test_partial_files_are_removed_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "a" / "b.partial").mkdir(parents=True)
    for name in ("a/b.partial/c.partial", "a/d.partial", "a/.tmpPFZPxV", "a/kept", "partial"):
        (tmp_path / name).touch()
    remove_partials(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "kept", "partial"]


def test_a_folder_is_locked_by_one_process_until_it_dies(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib; from codeling.manifest import locked\n"
        f"with locked(pathlib.Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match="--out"), locked(tmp_path):
            pass
    finally:
        child.kill()
        child.communicate()
    with locked(tmp_path):
        pass


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_recorded_only_where_git_tracks_this_package(tmp_path: Path) -> None:
    """The commit of another project that contains the environment is not recorded."""

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        answer = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return answer.stdout.strip()

    def noted() -> str:
        program = "from codeling.manifest import _git_commit; print(_git_commit())"
        answer = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "env")},
            capture_output=True, text=True, check=True, cwd=tmp_path,
        )  # fmt: skip
        return answer.stdout.strip()

    package = tmp_path / "env" / "codeling"
    package.mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "manifest.py"):
        shutil.copy(ROOT / "src" / "codeling" / name, package / name)
    assert noted() == "None"
    git("init", "--quiet")
    (tmp_path / "theirs.txt").touch()
    git("add", "theirs.txt")
    git("commit", "--quiet", "-m", "theirs")
    assert noted() == "None"
    git("add", "env/codeling/*.py")
    git("commit", "--quiet", "-m", "ours")
    assert noted() == git("rev-parse", "HEAD")
    (package / "errors.py").write_text("# changed\n" + (package / "errors.py").read_text())
    assert noted() == git("rev-parse", "HEAD") + "-dirty"
