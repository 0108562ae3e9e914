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
    together: list[tuple[str, str]] | None = None,
) -> Assignment:
    projects, paths, sizes = map(list, zip(*files, strict=True))
    return split.assign(projects, sizes, lambda: paths, validation, test, seed, together or ())


@given(FILES, st.integers(0, 3))
def test_laws_of_the_split(files: list[tuple[str, str, int]], seed: int) -> None:
    found = assign(files, 0.1, 0.1, seed)
    assert len(found.splits) == len(files)
    assert "train" in found.splits
    total = sum(size for _, _, size in files)
    for side in ("validation", "test"):
        sizes = [size for (_, _, size), s in zip(files, found.splits, strict=True) if s == side]
        assert sum(sizes) <= 0.1 * total or len(sizes) == 1
        assert sizes or len(files) < 3
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
    assert [found.splits.count(s) for s in ("train", "validation", "test")] == [188, 6, 6]


def test_a_repository_larger_than_a_share_always_trains() -> None:
    files = [("large", f"{i}.py", 10_000) for i in range(10)]
    files += [(f"small{i}", "a.py", 100) for i in range(100)]
    for seed in range(5):
        found = assign(files, 0.03, 0.03, seed)
        assert found.by == "repository"
        assert set(found.splits[:10]) == {"train"}


def test_nothing_wanted_nothing_taken_away() -> None:
    assert set(assign([("a", "a.py", 5), ("b", "b.py", 5)], 0.0, 0.0, 0).splits) == {"train"}


@given(st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=20), st.integers(0, 3))
def test_what_belongs_together_is_on_one_side(pairs: list[tuple[int, int]], seed: int) -> None:
    files = [(f"p{i}", f"{j}.py", 100) for i in range(60) for j in range(3)]
    together = [(f"p{i}", f"p{j}") for i, j in pairs]
    found = assign(files, 0.2, 0.2, seed, [*together, ("p0", "not among the files")])
    assert found.by == "repository"
    side = {project: name for (project, _, _), name in zip(files, found.splits, strict=True)}
    assert all(side[one] == side[other] for one, other in together)
    turned = assign(files, 0.2, 0.2, seed, [(b, a) for a, b in reversed(together)])
    assert turned == found


def test_paths_are_asked_for_only_where_files_are_split() -> None:
    def never() -> list[str]:
        raise AssertionError

    projects = [f"p{i}" for i in range(100)]
    assert split.assign(projects, [1] * 100, never, 0.1, 0.1, 0).by == "repository"
