import random
import sysconfig
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.corpus.dedup import near_duplicates
from codeling.corpus.dedup.minhash import sketches
from codeling.corpus.dedup.near_duplicates import clusters, forks
from codeling.errors import StorageError

from .test_minhash import grams


def components(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """The brute-force twin: names spread along pairs until none changes."""
    first = list(range(count))
    changed = True
    while changed:
        changed = False
        for left, right in pairs:
            least = min(first[left], first[right])
            changed |= first[left] != least or first[right] != least
            first[left] = first[right] = least
    return first


def jaccard(one: set[tuple[bytes, ...]], other: set[tuple[bytes, ...]]) -> float:
    if not min(len(one), len(other)) >= 0.7 * max(len(one), len(other)) > 0:
        return 0.0  # it cannot be more than the share of their sizes
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def edited(text: str, share: float, draw: random.Random) -> str:
    lines = text.splitlines()
    for i in range(len(lines)):
        if draw.random() < share:
            lines[i] = draw.choice(["", f"{lines[i]}  # {draw.random()}", f"x{i} = {lines[i]}"])
    return "\n".join(lines)


@pytest.fixture(scope="module")
def documents() -> list[str]:
    """Modules of the standard library, and copies of some with more or fewer lines changed."""
    draw = random.Random(0)
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("[a-m]*.py"))[:60]]
    copies = [edited(draw.choice(texts), draw.uniform(0, 0.25), draw) for _ in range(50)]
    return texts + copies


def test_clusters_are_those_of_brute_force(documents: list[str], tmp_path: Path) -> None:
    sets = [set(grams(text)) for text in documents]
    near = [
        (i, j) for i, j in combinations(range(len(sets)), 2) if jaccard(sets[i], sets[j]) >= 0.7
    ]
    expected = components(len(sets), near)
    found = clusters([sketches(documents)], tmp_path).tolist()
    dropped, truly = (
        {i for i, each in enumerate(first) if each != i} for first in (found, expected)
    )
    assert len(truly) > 30
    assert len(dropped & truly) >= 0.95 * max(len(dropped), len(truly))
    together = [found[i] == found[j] for i, j in near]
    assert sum(together) >= 0.95 * len(together)


def test_the_batches_do_not_matter(
    documents: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = clusters([sketches(documents)], tmp_path)
    monkeypatch.setattr(near_duplicates, "_BLOCK", 16)
    monkeypatch.setattr(near_duplicates, "_PAIRS", 3)
    for size in (1, 7, 16, 50):
        batches = (sketches(documents[i : i + size]) for i in range(0, len(documents), size))
        assert np.array_equal(clusters(batches, tmp_path), whole)


def test_the_order_of_documents_does_not_change_the_clusters(
    documents: list[str], tmp_path: Path
) -> None:
    rows = sketches(documents)
    turned = clusters([rows[::-1]], tmp_path)
    last = len(documents) - 1
    partition = {
        tuple(sorted(last - i for i in np.flatnonzero(turned == each))) for each in set(turned)
    }
    straight = clusters([rows], tmp_path)
    assert partition == {tuple(np.flatnonzero(straight == each)) for each in set(straight)}
    assert (straight <= np.arange(len(documents))).all()


def test_many_equal_documents_are_one_cluster_beside_many_others(tmp_path: Path) -> None:
    draw = random.Random(1)
    base = [draw.choice("abcdefgh") for _ in range(100)]
    other = [*base[:60], *(draw.choice("abcdefgh") for _ in range(60))]
    texts = [" ".join(draw.choice([base, other])) for _ in range(300)]
    first = clusters([sketches(texts)], tmp_path)
    assert len(set(first)) == 2
    assert all(texts[i] == texts[each] for i, each in enumerate(first))


def test_documents_of_few_words_are_not_copies(tmp_path: Path) -> None:
    assert clusters([sketches(["a b c d"] * 3 + [""] * 2)], tmp_path).tolist() == [0, 1, 2, 3, 4]
    assert clusters([], tmp_path).tolist() == []
    assert clusters([sketches([])], tmp_path).tolist() == []


def test_nothing_is_left_on_disk(documents: list[str], tmp_path: Path) -> None:
    clusters([sketches(documents[:5])], tmp_path / "spool")
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        clusters([sketches(["a b c d e"])], tmp_path / "file")


PAIRS = st.integers(1, 12).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))),
    )
)


@given(PAIRS)
def test_joining_equals_brute_force(case: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = case
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    half = len(pairs) // 2
    first = near_duplicates._join(np.arange(count), left[:half], right[:half])
    first = near_duplicates._join(first, left[half:], right[half:])
    assert first.tolist() == components(count, pairs)


def test_a_fork_joins_its_origin_and_a_repository_with_one_copied_file_does_not() -> None:
    origin, fork, user, fork_of_fork = range(4)
    owners = np.array([origin] * 4 + [fork] * 3 + [user] * 4 + [fork_of_fork] * 2)
    origins = np.array([0, 1, 2, 3, 0, 1, 6, 2, 8, 9, 10, 6, 6])
    assert forks(origins, owners).tolist() == [[fork, origin], [fork_of_fork, fork]]
    nothing = np.empty(0, np.int64)
    assert forks(nothing, nothing).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), max_size=30))
def test_forks_are_those_of_the_rule(rows: list[tuple[int, int]]) -> None:
    owners = [owner for owner, _ in rows]
    pairs = [(i, at) for i, (_, at) in enumerate(rows) if at < len(rows)]
    origins = components(len(rows), pairs)
    expected = [
        [one, other]
        for one in range(5)
        for other in range(5)
        if one != other
        and (copied := sum(owners[at] == other for i, at in enumerate(origins) if owners[i] == one))
        and copied >= 0.5 * owners.count(one)
    ]
    found = forks(np.array(origins, np.int64), np.array(owners, np.int64))
    assert found.tolist() == expected
