"""Every benchmark that a document or a docstring names exists, and shows its own command."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = sorted(ROOT.glob("benchmarks/**/*.py"))
SCRIPTS = [path for path in BENCHMARKS if "__main__" in path.read_text(encoding="utf-8")]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]


def module(path: Path) -> str:
    """The dotted name that ``python -m`` takes."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", [*DOCUMENTS, *BENCHMARKS], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_benchmark_named_exists(path: Path) -> None:
    named = re.findall(r"python -m (benchmarks(?:\.\w+)+)", path.read_text(encoding="utf-8"))
    assert set(named) <= set(map(module, SCRIPTS))


@pytest.mark.parametrize("path", SCRIPTS, ids=module)
def test_every_benchmark_shows_its_own_command(path: Path) -> None:
    assert f"python -m {module(path)}" in path.read_text(encoding="utf-8").split('"""')[1]
