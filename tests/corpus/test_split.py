from hypothesis import given
from hypothesis import strategies as st

from codeling.corpus.split import assign

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


@given(FILES, st.integers(0, 3))
def test_laws_of_the_split(files: list[tuple[str, str, int]], seed: int) -> None:
    found = assign(files, 0.1, 0.1, seed)
    assert len(found.splits) == len(files)
    assert "train" in found.splits
    total = sum(size for _, _, size in files)
    for split in ("validation", "test"):
        sizes = [size for (_, _, size), s in zip(files, found.splits, strict=True) if s == split]
        assert sum(sizes) <= 0.1 * total or len(sizes) == 1
        assert sizes or len(files) < 3
    if found.by == "repository":
        sides: dict[str, set[str]] = {}
        for (project, _, _), split in zip(files, found.splits, strict=True):
            sides.setdefault(project, set()).add(split)
        assert all(len(side) == 1 for side in sides.values())
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
