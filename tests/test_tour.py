"""``docs/tour.md`` lists every module once; the pages that a person reads first are short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "codeling"
MODULES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
TOUR = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")


def modules_of_a_row(row: str) -> list[str]:
    """Modules that a row of the tour's tables describes: one, or those of a folder."""
    first, _, rest = row.strip("| ").partition(" | ")
    path = first.strip("`")
    if not path.endswith("/"):
        return [path]
    return [path + name for name in re.findall(r"`(\w+\.py)`", rest)]


def tables_of_the_tour() -> list[list[str]]:
    """The tour's tables of modules, without their heads."""
    found = re.findall(r"^\| module \|.*\n\|.*\n((?:\|.*\n)+)", TOUR, re.MULTILINE)
    return [table.splitlines() for table in found]


def test_the_tour_lists_every_module() -> None:
    rows = [row for table in tables_of_the_tour() for row in table]
    named = [module for row in rows for module in modules_of_a_row(row)]
    modules = {module for module in MODULES if not module.endswith("__init__.py")}
    assert len(modules) > 40
    assert modules - set(named) == set()
    assert set(named) - modules == set()
    assert len(named) == len(set(named))


def test_names_are_in_the_modules_that_the_tour_gives_for_them() -> None:
    """Both ``NAME in MODULE`` and ``MODULE (NAME, NAME)``."""
    rows = TOUR.partition("## The way of a document")[0]
    found = [(path, name) for name, path in re.findall(r"`([\w.]+)` in `([\w/]+\.py)`", rows)]
    for path, names in re.findall(r"`([\w/]+\.py)` \(([^)]*)\)", rows):
        found += [(path, name) for name in re.findall(r"`(\w+)`", names)]
    assert len(found) > 10
    for path, name in found:
        last = name.rpartition(".")[2]
        assert re.search(rf"\b{last}\b", (SOURCE / path).read_text(encoding="utf-8")), name


def test_the_tour_is_short_and_sorted() -> None:
    """Modules of a package come first, its folders after them."""
    assert len(TOUR.splitlines()) <= 400, "describe a folder's modules in one row"
    for table in tables_of_the_tour()[:-1]:
        names = [row.strip("| ").partition(" | ")[0].strip("`") for row in table]
        assert names == sorted(names, key=lambda name: (name.endswith("/"), name))


@pytest.mark.parametrize("name, lines", [("README.md", 120), ("docs/results.md", 200)])
def test_the_pages_read_first_are_short(name: str, lines: int) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= lines
