import itertools
import math
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeling.dataset.infilling import NUM_MARKERS, Infilling
from codeling.tokenizer.tokenizer import Tokenizer

TEXT = "def mean(xs):\n    return sum(xs) / len(xs)  # é 中\n"


def rearranged(
    infilling: Infilling, text: str, t: Tokenizer, position: tuple[int, int, int]
) -> list[int]:
    return infilling.rearrange(text, t, position, lambda begin, end: t.encode(text[begin:end]))


def parts(ids: list[int], t: Tokenizer) -> tuple[list[int], list[int], list[int]]:
    """Ids after <fim_prefix>, <fim_suffix> and <fim_middle>."""
    assert ids[0] == t.fim_prefix
    suffix, middle = ids.index(t.fim_suffix), ids.index(t.fim_middle)
    found = ids[1:suffix], ids[suffix + 1 : middle], ids[middle + 1 :]
    assert not t.special_ids & set(itertools.chain(*found))
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(),
    suffix_first=st.booleans(),
    seed=st.integers(0, 2**40),
    position=st.tuples(st.integers(0, 9), st.integers(0, 10**6), st.integers(0, 10**6)),
)
def test_parts_joined_in_marker_order_are_the_text(
    tokenizer: Tokenizer,
    text: str,
    suffix_first: bool,
    seed: int,
    position: tuple[int, int, int],
) -> None:
    infilling = Infilling(1.0, float(suffix_first), seed)
    ids = rearranged(infilling, text, tokenizer, position)
    before, after, middle = (tokenizer.decode_bytes(part) for part in parts(ids, tokenizer))
    assert before + middle + after == text.encode()
    if suffix_first:
        assert before == b""
    # The three parts are cut between characters and encoded separately.
    for part in parts(ids, tokenizer):
        assert tokenizer.encode(tokenizer.decode_bytes(part).decode()) == part
    assert len(ids) == NUM_MARKERS + sum(map(len, parts(ids, tokenizer)))


def test_psm_and_spm_use_the_same_cuts(tokenizer: Tokenizer) -> None:
    psm = rearranged(Infilling(1.0, 0.0, 0), TEXT, tokenizer, (0, 0, 0))
    spm = rearranged(Infilling(1.0, 1.0, 0), TEXT, tokenizer, (0, 0, 0))
    prefix, suffix, middle = (tokenizer.decode(part) for part in parts(psm, tokenizer))
    # The order is drawn independently of the cuts.
    assert prefix
    assert [tokenizer.decode(part) for part in parts(spm, tokenizer)] == [
        "",
        suffix,
        prefix + middle,
    ]


def close(count: int, of: int, rate: float) -> bool:
    """Within four standard deviations of a fair draw."""
    return abs(count - of * rate) <= 4 * math.sqrt(of * rate * (1 - rate))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_fim_rate_is_the_share_of_documents(rate: float) -> None:
    infilling = Infilling(rate, 0.5, seed=3)
    for epoch in (0, 1):
        assert close(sum(infilling.chooses(epoch, d) for d in range(1500)), 1500, rate)


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_fim_spm_rate_is_the_share_of_rearranged_documents(
    tokenizer: Tokenizer, rate: float
) -> None:
    infilling = Infilling(1.0, rate, seed=3)
    counted = [0, 0]
    for document in range(600):
        ids = rearranged(infilling, "abcdefghij" * 20, tokenizer, (0, document, 0))
        plain = rearranged(
            Infilling(1.0, 0.0, seed=3), "abcdefghij" * 20, tokenizer, (0, document, 0)
        )
        if parts(plain, tokenizer)[0]:  # with an empty prefix both orders are equal
            counted[ids[1] == tokenizer.fim_suffix] += 1
    assert close(counted[1], sum(counted), rate)


def test_cuts_fall_anywhere_between_characters(tokenizer: Tokenizer) -> None:
    infilling, text = Infilling(1.0, 0.0, 0), "return"
    (whole,) = [tokenizer.encode(text)]
    assert len(whole) < len(text)
    seen, within_a_token = set(), 0
    for document in range(600):
        ids = parts(rearranged(infilling, text, tokenizer, (0, document, 0)), tokenizer)
        prefix, _, middle = (tokenizer.decode(part) for part in ids)
        seen.add((len(prefix), len(prefix + middle)))
        within_a_token += ids[0] + ids[2] + ids[1] != whole
    assert seen == {(a, b) for a in range(7) for b in range(a, 7)}
    assert within_a_token > 0


def test_a_decision_depends_on_seed_and_position_alone(tokenizer: Tokenizer) -> None:
    places = [(e, d, o) for e in range(2) for d in range(15) for o in (0, 7)]

    def decided(order: list[tuple[int, int, int]], seed: int) -> dict[object, object]:
        infilling = Infilling(0.5, 0.5, seed)
        return {
            place: (
                infilling.chooses(*place[:2]),
                rearranged(infilling, TEXT, tokenizer, place),
            )
            for place in order
        }

    first = decided(places, seed=1)
    shuffled = random.Random(0).sample(places, len(places))
    assert decided(shuffled, seed=1) == first
    assert decided(places, seed=2) != first
    for which in range(3):  # epoch, document and offset each matter
        groups: dict[object, set[object]] = {}
        for place in places:
            rest = place[:which] + place[which + 1 :]
            groups.setdefault(rest, set()).add(str(first[place]))
        assert sum(len(group) > 1 for group in groups.values()) > len(groups) // 2
