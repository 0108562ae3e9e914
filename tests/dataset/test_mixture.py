import json
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.dataset.mixture import (
    RepositoryRecorder,
    balanced_first,
    quotas,
    read_repository_numbers,
)
from codeling.errors import InputError


@dataclass(frozen=True)
class Document:
    repository: str
    text: str = "pass"


def test_owners_survive_a_round_trip(tmp_path: Path) -> None:
    names = ["a", "a", "b", "a", "c", "c", "c"]
    owners = RepositoryRecorder()
    assert list(owners.texts(map(Document, names))) == ["pass"] * 7
    owners.write(tmp_path / "train.json")
    assert read_repository_numbers(tmp_path / "train.json").tolist() == [0, 0, 1, 0, 2, 2, 2]
    assert owners.runs == [("a", 2), ("b", 1), ("a", 1), ("c", 3)]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"runs": [["a"]]}', '{"runs": [["a", "b"]]}'])
def test_a_damaged_owners_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.json"
    with pytest.raises(InputError, match=r"train\.json: cannot be read"):
        read_repository_numbers(path)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"train\.json: not a list of repositories"):
        read_repository_numbers(path)


totals_of = st.lists(st.integers(0, 10_000), min_size=1, max_size=9).map(
    lambda values: np.array(values, dtype=np.float64)
)


@given(totals=totals_of, tokens=st.integers(0, 50_000), exponent=st.floats(0, 1))
def test_quotas_sum_to_the_total_and_follow_the_exponent(
    totals: np.ndarray, tokens: int, exponent: float
) -> None:
    given_each = quotas(totals, tokens, exponent)
    assert np.all(given_each <= totals + 1e-6)
    assert abs(given_each.sum() - min(tokens, totals.sum())) < 1
    open_ = (given_each < totals - 1e-6) & (given_each > 0)
    factors = given_each[open_] / totals[open_] ** exponent
    if len(factors):
        # All repositories with tokens left share one factor; no exhausted one exceeds it.
        assert np.allclose(factors, factors[0], rtol=1e-3)
        spent = (totals > 0) & ~open_
        assert np.all(given_each[spent] <= factors[0] * totals[spent] ** exponent * 1.001 + 1)


@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 50)), min_size=1, max_size=60),
    tokens=st.integers(0, 3000),
    exponent=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 9),
)
def test_the_order_begins_with_the_balanced_share_and_loses_nothing(
    pairs: list[tuple[int, int]], tokens: int, exponent: float, seed: int
) -> None:
    owners = np.array([owner for owner, _ in pairs])
    lengths = np.array([length for _, length in pairs])
    order = np.random.default_rng(seed).permutation(len(pairs))
    got = balanced_first(order, owners, lengths, tokens, exponent)
    assert sorted(got.tolist()) == list(range(len(pairs)))
    shares = quotas(np.bincount(owners, lengths).astype(float), tokens, exponent)
    front = [
        chunk
        for owner in range(5)
        for before, chunk in zip(
            accumulate([0, *lengths[order][owners[order] == owner].tolist()]),
            order[owners[order] == owner].tolist(),
            strict=False,
        )
        if before < shares[owner]
    ]
    place = {chunk: number for number, chunk in enumerate(order.tolist())}
    assert got[: len(front)].tolist() == sorted(front, key=place.__getitem__)
    rest = [place[chunk] for chunk in got[len(front) :].tolist()]
    assert rest == sorted(rest)
    if tokens >= lengths.sum():
        assert got.tolist() == order.tolist()


def test_a_large_repository_does_not_dominate() -> None:
    owners = np.repeat([0, 1], [900, 100])
    lengths = np.full(1000, 10)
    order = np.random.default_rng(0).permutation(1000)
    shares = {
        exponent: np.mean(owners[balanced_first(order, owners, lengths, 1000, exponent)[:100]])
        for exponent in (0.0, 0.5, 1.0)
    }
    assert shares[0.0] == 0.5
    assert shares[0.5] == 0.25
    assert abs(shares[1.0] - 0.1) < 0.011


def test_the_owners_file_is_plain_json(tmp_path: Path) -> None:
    owners = RepositoryRecorder()
    list(owners.texts([Document("x==1")]))
    owners.write(tmp_path / "train.json")
    assert json.loads((tmp_path / "train.json").read_bytes()) == {
        "format": 1,
        "runs": [["x==1", 1]],
    }
