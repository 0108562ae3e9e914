import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.corpus.build import split
from codeling.corpus.build.split import Assignment

FILES = st.lists(
    st.tuples(
        st.sampled_from([f"p{i}" for i in range(12)]),
        st.integers(0, 40).map(lambda i: f"{i}.py"),
        st.integers(1, 10_000),
    ),
    min_size=1,
    max_size=120,
    unique_by=lambda file: file[:2],
)


def assign(
    files: list[tuple[str, str, int]],
    validation: float,
    test: float,
    seed: int,
    linked: list[tuple[str, str]] | None = None,
) -> Assignment:
    projects, paths, sizes = map(list, zip(*files, strict=True))
    return split.assign(projects, sizes, lambda: paths, validation, test, seed, linked or ())


@given(FILES, st.integers(0, 3))
def test_laws_of_the_split(files: list[tuple[str, str, int]], seed: int) -> None:
    found = assign(files, 0.1, 0.1, seed)
    assert len(found.splits) == len(files)
    assert "train" in found.splits
    total = sum(size for _, _, size in files)
    for side in ("validation", "test"):
        sizes = [size for (_, _, size), s in zip(files, found.splits, strict=True) if s == side]
        if found.by == "repository":
            assert sizes
            assert sum(sizes) <= 0.1 * total
        elif len(files) >= 3:
            assert len(sizes) == max(1, round(0.1 * len(files)))
    if found.by == "repository":
        sides: dict[str, set[str]] = {}
        for (project, _, _), side in zip(files, found.splits, strict=True):
            sides.setdefault(project, set()).add(side)
        assert all(len(of_one) == 1 for of_one in sides.values())
    backwards = assign(files[::-1], 0.1, 0.1, seed)
    assert backwards.splits[::-1] == found.splits


def test_two_repositories_are_split_by_file() -> None:
    files = [("a" if i % 2 else "b", f"{i}.py", 100) for i in range(200)]
    found = assign(files, 0.03, 0.03, 0)
    assert found.by == "file"
    assert found.rule.startswith("files are sorted by SHA-256")
    assert found.rule.endswith("by file because 2 projects cannot fill three splits")
    assert [found.splits.count(s) for s in ("train", "validation", "test")] == [188, 6, 6]


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=60), st.integers(0, 3))
def test_files_are_split_independently_of_their_sizes(sizes: list[int], seed: int) -> None:
    files = [("one", f"{i}.py", size) for i, size in enumerate(sizes)]
    equal = [(project, path, 1) for project, path, _ in files]
    assert assign(files, 0.1, 0.1, seed).splits == assign(equal, 0.1, 0.1, seed).splits


def test_one_repository_is_not_tested_on_its_smallest_files() -> None:
    files = [("one", f"{i}.py", 1 + i * i) for i in range(400)]
    for seed in range(5):
        found = assign(files, 0.1, 0.1, seed)
        sizes = [f[2] for f, side in zip(files, found.splits, strict=True) if side == "test"]
        assert 0.4 < (sum(sizes) / len(sizes)) / (sum(f[2] for f in files) / len(files)) < 1.6


def test_the_rule_says_why_files_are_split() -> None:
    files = [(f"p{i}", f"{j}.py", 100) for i in range(3) for j in range(10)]
    found = assign(files, 0.1, 0.1, 0)
    assert found.by == "file"
    assert found.rule.endswith("by file because no project of 3 fits into test or validation")
    assert assign(files[:10], 0.1, 0.1, 0).rule.endswith("1 project cannot fill three splits")
    by_project = assign([(f"p{i}", "a.py", 100) for i in range(40)], 0.1, 0.1, 0)
    assert by_project.rule == split.REPOSITORY_RULE


@pytest.mark.parametrize(
    ("number", "sides"),
    [(1, ["train"]), (2, ["test", "train"]), (3, ["test", "train", "validation"])],
)
@pytest.mark.parametrize("share", [0.01, 0.45])
def test_few_files_leave_one_for_training(number: int, sides: list[str], share: float) -> None:
    files = [("one", f"{i}.py", 100) for i in range(number)]
    assert sorted(assign(files, share, share, 0).splits) == sides


def test_a_repository_larger_than_a_share_always_trains() -> None:
    files = [("large", f"{i}.py", 10_000) for i in range(10)]
    files += [(f"small{i}", "a.py", 100) for i in range(100)]
    for seed in range(5):
        found = assign(files, 0.03, 0.03, seed)
        assert found.by == "repository"
        assert set(found.splits[:10]) == {"train"}


def test_without_shares_every_document_is_for_training() -> None:
    assert set(assign([("a", "a.py", 5), ("b", "b.py", 5)], 0.0, 0.0, 0).splits) == {"train"}


@given(st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=20), st.integers(0, 3))
def test_linked_projects_are_in_one_split(pairs: list[tuple[int, int]], seed: int) -> None:
    files = [(f"p{i}", f"{j}.py", 100) for i in range(60) for j in range(3)]
    linked = [(f"p{i}", f"p{j}") for i, j in pairs]
    found = assign(files, 0.2, 0.2, seed, [*linked, ("p0", "not among the files")])
    assert found.by == "repository"
    side = {project: name for (project, _, _), name in zip(files, found.splits, strict=True)}
    assert all(side[one] == side[other] for one, other in linked)
    turned = assign(files, 0.2, 0.2, seed, [(b, a) for a, b in reversed(linked)])
    assert turned == found


def test_paths_are_read_only_for_a_split_by_file() -> None:
    def never() -> list[str]:
        raise AssertionError

    projects = [f"p{i}" for i in range(100)]
    assert split.assign(projects, [1] * 100, never, 0.1, 0.1, 0).by == "repository"
