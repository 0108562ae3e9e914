"""The project of a typed file holds nothing of the file, and the nearest files first."""

from dataclasses import dataclass

from codeling.evaluation.keystrokes import open_project
from codeling.evaluation.keystrokes.open_project import other_files


@dataclass(frozen=True)
class Place:
    path: str
    text: str
    repository: str = "r"
    start_line: int = 1


def lines(name: str, number: int = 10) -> str:
    return "".join(f"{name}_value_{n} = {n}\n" for n in range(number))


TYPED = Place("package/typed.py", lines("typed") + "import helper\n")


def test_the_file_and_its_near_copies_are_left_out() -> None:
    half = lines("typed", 4) + lines("own")
    others = [
        TYPED,
        Place("build/lib/typed.py", TYPED.text.replace("typed_value_3", "changed")),
        Place("package/indented.py", "".join(f"    {line}\n" for line in TYPED.text.split("\n"))),
        Place("package/half.py", half),
        Place("package/typed.py", "another part of the file", start_line=7),
    ]
    assert [file.path for file in other_files(TYPED, others)] == ["package/half.py"]


def test_nearest_files_come_first_and_a_large_project_is_cut(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    others = [
        Place("elsewhere/a.py", lines("a")),
        Place("package/b.py", lines("b")),
        Place("elsewhere/helper.py", lines("helper")),
    ]
    order = ["elsewhere/helper.py", "package/b.py", "elsewhere/a.py"]
    for given in (others, others[::-1]):
        assert [file.path for file in other_files(TYPED, given)] == order
    monkeypatch.setattr(open_project, "MAX_CHARACTERS", len(others[1].text) + len(others[2].text))
    assert [file.path for file in other_files(TYPED, others)] == order[:2]
