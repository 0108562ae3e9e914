import os
import subprocess
from pathlib import Path

import pytest

from codeling.adaptation.project_texts import ProjectText, added_by_git, read_project, split_newest
from codeling.errors import UsageError

GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": "/nowhere",
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
}  # fmt: skip


def body(name: str, lines: int = 20) -> str:
    return f"def {name}(value):\n" + "".join(
        f"    {name}_{i} = value + {i}\n" for i in range(lines)
    )


def commit(root: Path, day: int) -> None:
    date = f"{1_600_000_000 + day * 86_400} +0000"
    dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    for command in (["add", "-A"], ["commit", "-q", "-m", str(day)]):
        environment = {**os.environ, **GIT, **dates}
        subprocess.run(["git", "-C", root, *command], check=True, env=environment)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout: five files, one of them renamed later, and one that git does not know."""
    root = tmp_path / "project"
    (root / "sub").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", root], check=True, env={**os.environ, **GIT})
    for day, name in enumerate(("old", "middle", "sub/deep é", "new")):
        (root / f"{name}.py").write_text(body(Path(name).name.split()[0]))
        commit(root, day)
    (root / "old.py").rename(root / "renamed.py")
    commit(root, 9)
    return root


def test_the_age_of_a_file_is_that_of_its_first_commit(project: Path) -> None:
    ages = added_by_git(project)
    assert sorted(ages, key=lambda path: ages[path]) == [
        "renamed.py", "middle.py", "sub/deep é.py", "new.py",
    ]  # fmt: skip
    assert ages["renamed.py"] == 1_600_000_000
    assert added_by_git(project / "sub").keys() == {"deep é.py"}


def test_the_newest_files_are_held_out(project: Path) -> None:
    found = read_project(project)
    assert found.by_git
    assert [file.path for file in found.held_out] == ["new.py"]
    assert {file.path for file in found.train} == {"renamed.py", "middle.py", "sub/deep é.py"}
    assert found.sha256 == read_project(project).sha256
    (project / "middle.py").write_text(body("changed"))
    assert found.sha256 != read_project(project).sha256


def test_without_git_the_last_change_decides(tmp_path: Path) -> None:
    for day, name in enumerate("dacb"):
        (tmp_path / f"{name}.py").write_text(body(name))
        os.utime(tmp_path / f"{name}.py", (day, day))
    found = read_project(tmp_path)
    assert not found.by_git
    assert [file.path for file in found.held_out] == ["b.py"]


def test_secrets_are_redacted_and_equal_files_count_once(project: Path) -> None:
    mail = "somebody@mycompany.com"
    (project / "new.py").write_text(body("new") + f"AUTHOR = '{mail}'\n")
    (project / "copy.py").write_text(body("middle"))
    (project / "broken.py").write_text("def (:\n" * 20)
    found = read_project(project)
    files = {file.path: file.text for file in (*found.train, *found.held_out)}
    assert mail not in "".join(files.values())
    assert len(files.keys() & {"copy.py", "middle.py"}) == 1
    assert "broken.py" not in files


def test_the_split_takes_a_tenth_of_the_bytes() -> None:
    files = [ProjectText(f"{n}.py", "x" * 100, float(n)) for n in range(50)]
    train, held_out = split_newest(files)
    assert [file.path for file in held_out] == [f"{n}.py" for n in (49, 48, 47, 46, 45)]
    assert len(train) == 45
    large = [*files, ProjectText("large.py", "x" * 3000, 60.0)]
    _, held_out = split_newest(large)
    assert "large.py" in {file.path for file in held_out}  # the newest one is always held out
    large = [*files, ProjectText("large.py", "x" * 3000, 48.5)]
    train, held_out = split_newest(large)
    assert "large.py" in {file.path for file in train}
    assert sum(file.num_bytes for file in held_out) >= 800


def test_files_of_one_age_are_split_by_their_paths() -> None:
    files = [ProjectText(f"{n}.py", "x" * 100, 0.0) for n in range(40)]
    _, first = split_newest(files)
    _, again = split_newest(files[::-1])
    assert first == again
    assert [file.path for file in first] != [file.path for file in files[:4]]


@pytest.mark.skipif(os.name != "posix", reason="names are bytes")
def test_a_file_name_that_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.py").write_text(body(name))
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.py")).write_text(body("cafe"))
    except OSError:
        pytest.skip("the file system has only UTF-8 names")
    project = read_project(tmp_path)
    assert r"caf\xe9.py" in {file.path for file in project.train + project.held_out}
    assert project.sha256


def test_too_small_a_project_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(body("a"))
    with pytest.raises(UsageError, match="1 usable Python file; an adaptation needs 4"):
        read_project(tmp_path)
    with pytest.raises(UsageError, match="no folder that can be read"):
        read_project(tmp_path / "nowhere")
