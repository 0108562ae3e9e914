import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Main = Callable[..., Any]
NOTEBOOKS = Path(__file__).parents[2] / "docs" / "course" / "notebooks"


def test_the_notebooks_are_copied_and_changes_are_kept(main: Main, tmp_path: Path) -> None:
    answer = json.loads(main("course", str(tmp_path / "mine"), "--json").out)
    names = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
    assert answer == {"folder": str(tmp_path / "mine"), "notebooks": names}
    assert (tmp_path / "mine" / names[0]).read_bytes() == (NOTEBOOKS / names[0]).read_bytes()
    (tmp_path / "mine" / names[0]).write_text("changed")
    (tmp_path / "mine" / names[1]).unlink()
    assert main("course", str(tmp_path / "mine"), "--json").code == 0
    assert (tmp_path / "mine" / names[0]).read_text() == "changed"
    assert (tmp_path / "mine" / names[1]).exists()


@pytest.mark.parametrize(("user", "more"), [(1000, []), (0, ["--allow-root"])])
def test_jupyterlab_opens_in_the_folder(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, more: list[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user, raising=False)
    started: list[Any] = []
    monkeypatch.setattr("codeling.cli.extras.find_spec", lambda name: name)
    monkeypatch.setattr("os.execv", lambda *arguments: started.append((Path.cwd(), arguments)))
    monkeypatch.chdir(tmp_path)
    assert "begin with 1_objectives.ipynb" in main("course").out
    ((folder, (_, words)),) = started
    assert folder == tmp_path / "course"
    assert words[1:] == ["-m", "jupyterlab", *more, "1_objectives.ipynb"]


def test_without_the_extra_one_line_says_what_to_install(
    main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeling.cli.extras.find_spec", lambda name: None)
    answer = main("course")
    assert answer.code == 2
    assert "jupyterlab is not installed; pip install 'codeling[course]'" in answer.err


def test_a_folder_that_cannot_be_written_is_one_line(main: Main, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = main("course", str(tmp_path / "file"), "--json")
    assert answer.code == 1
    assert str(tmp_path / "file") in answer.err
