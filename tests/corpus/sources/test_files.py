import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from codeling.corpus.sources.files import fingerprint, list_files
from codeling.errors import UsageError
from codeling.recipe import CorpusRecipe, Folder


def recipe(*paths: Path, **settings: object) -> CorpusRecipe:
    sources = [Folder(kind="folder", path=path) for path in paths]
    return CorpusRecipe.model_validate({"sources": sources, **settings})


def write(path: Path, text: str = "x = 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_missing_folder_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gone: no such folder") as caught:
        list_files(recipe(tmp_path / "gone"))
    assert caught.value.exit_code == 2


def test_git_checkouts_count_as_their_own(tmp_path: Path) -> None:
    commit = "0123456789" * 4
    write(tmp_path / "mine" / "a.py")
    lib = tmp_path / "mine" / "lib"
    write(lib / "pkg" / "b c.py")
    write(lib / "LICENSE", "SPDX-License-Identifier: ISC\n")
    write(lib / ".git" / "HEAD", "ref: refs/heads/main\n")
    write(lib / ".git" / "refs" / "heads" / "main", commit + "\n")
    write(
        lib / ".git" / "config",
        '[core]\n\tbare = false\n[remote "origin"]\n\turl = https://me:secret@host.org/o/n.git\n',
    )
    write(lib / ".git" / "hooks" / "no.py")
    write(tmp_path / "mine" / "env" / "pyvenv.cfg", "")
    write(tmp_path / "mine" / "env" / "no.py")
    mine, other = list_files(recipe(tmp_path / "mine"))
    assert (mine.repository.name, mine.path, mine.repository.license) == ("mine", "a.py", "unknown")
    assert mine.repository.url(mine.path) == ""
    assert (other.repository.name, other.path) == ("o/n", "pkg/b c.py")
    assert other.repository.license == "ISC"
    url = other.repository.url(other.path)
    assert url == f"https://host.org/o/n/blob/{commit}/pkg/b%20c.py"


@pytest.mark.parametrize("packed", [False, True])
def test_a_remote_in_ssh_notation(packed: bool, tmp_path: Path) -> None:
    write(tmp_path / "a.py")
    commit = "ab" * 20
    write(tmp_path / ".git" / "config", '[remote "origin"]\n  url = git@github.com:o/n.git\n')
    write(tmp_path / ".git" / "HEAD", "ref: refs/heads/x\n" if packed else commit)
    write(tmp_path / ".git" / "packed-refs", f"# pack\n{commit} refs/heads/x\n")
    (file,) = list_files(recipe(tmp_path))
    assert file.repository.url("a.py") == f"https://github.com/o/n/blob/{commit}/a.py"
    assert file.repository.version == commit


def test_links_loops_and_special_files(tmp_path: Path) -> None:
    write(tmp_path / "a.py")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self.py").symlink_to(tmp_path / "self.py")
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "folder.py").mkdir()
    reasons = {file.path: file.drop_reason for file in list_files(recipe(tmp_path))}
    assert reasons == {
        "a.py": None,
        "loop": "symlinked_folder",
        "self.py": "unreadable",
        "gone.py": "unreadable",
        "pipe.py": "unreadable",
    }


def test_patterns_and_sizes_decide_without_reading(tmp_path: Path) -> None:
    for name in ("_vendor/a.py", "x/_vendor/y/b.py", "x/my_vendor/c.py", "x/d_test.py", "big.py"):
        write(tmp_path / name)
    write(tmp_path / "big.py", "x" * 300)
    settings = {"exclude": ("**/_vendor/**", "x/*_test.py"), "max_bytes": 100}
    reasons = {f.path: f.drop_reason for f in list_files(recipe(tmp_path, **settings))}
    assert reasons == {
        "_vendor/a.py": "excluded",
        "x/_vendor/y/b.py": "excluded",
        "x/my_vendor/c.py": None,
        "x/d_test.py": "excluded",
        "big.py": "too_large",
    }


def test_folders_of_one_name_stay_apart_and_one_folder_counts_once(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1" / "src" / "a.py"), write(tmp_path / "2" / "src" / "a.py")
    found = list_files(recipe(one.parent, two.parent, one.parent))
    assert [f.repository.name for f in found] == ["src", "src~2"]
    assert {f.repository.project for f in found} == {"src"}


def test_fingerprint_follows_the_listing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.py")
    before = fingerprint(list_files(recipe(tmp_path)))
    assert fingerprint(list_files(recipe(tmp_path))) == before
    os.utime(path, ns=(1, 1))
    touched = fingerprint(list_files(recipe(tmp_path)))
    assert touched != before
    write(tmp_path / "b.py")
    assert fingerprint(list_files(recipe(tmp_path))) not in {touched, before}


def test_listing_needs_no_daft() -> None:
    import subprocess

    code = "import sys, codeling.corpus.sources.files; print('daft' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"


def test_installed_lists_the_library_and_distributions_once() -> None:
    found = list_files(CorpusRecipe())
    repositories = {file.repository.name: file.repository for file in found}
    library = found[0].repository
    assert library.rank == 0
    assert library.version.startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    if sys.implementation.name == "cpython":
        url = library.url("json/__init__.py")
        assert url.startswith("https://github.com/python/cpython/blob/v3.")
        assert url.endswith("/Lib/json/__init__.py")
    numpy = repositories[f"numpy=={metadata.version('numpy')}"]
    assert numpy.url("numpy/a.py") == f"pkg:pypi/numpy@{numpy.version}#numpy/a.py"
    keys = [(f.repository.rank, f.repository.name, f.path) for f in found]
    assert keys == sorted(set(keys))
    assert not any("__pycache__" in f.path or f.path.startswith(("/", "..")) for f in found)
    assert not any(f.path.startswith("site-packages") for f in found)
    assert sum(f.path == "json/__init__.py" and f.repository is library for f in found) == 1
