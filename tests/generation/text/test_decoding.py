import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeling.generation.text.decoding import CompletionText, StopStringFilter, Utf8Decoder


def split_at(data: st.DataObject, size: int) -> list[tuple[int, int]]:
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=8)))
    bounds = [0, *cuts, size]
    return list(itertools.pairwise(bounds))


@given(st.one_of(st.binary(max_size=30), st.text(max_size=20).map(str.encode)), st.data())
def test_partial_text_is_the_decoded_whole_without_an_incomplete_character(
    raw: bytes, data: st.DataObject
) -> None:
    machine = Utf8Decoder()
    text = "".join(machine.feed(raw[a:b]) for a, b in split_at(data, len(raw)))
    whole = raw.decode("utf-8", errors="replace")
    assert whole.startswith(text)
    assert set(whole[len(text) :]) <= {"\ufffd"}
    # The missing part is the beginning of a character that further bytes would complete.
    assert len(whole) - len(text) <= 1


@given(st.text(), st.data())
def test_whole_characters_are_never_held_back(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    machine = Utf8Decoder()
    assert "".join(machine.feed(raw[a:b]) for a, b in split_at(data, len(raw))) == text


def cut_at_stop(text: str, stops: list[str]) -> tuple[str, bool]:
    """Reference: the shortest prefix that ends with a stop string."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))], True
    return text, False


@settings(max_examples=200)
@given(
    st.text("ab\n", max_size=24),
    st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
    st.data(),
)
def test_stop_strings_equal_the_reference_for_any_pieces(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    expected, found = cut_at_stop(text, stops)
    machine = StopStringFilter(stops)
    shown = ""
    for start, end in split_at(data, len(text)):
        shown += machine.feed(text[start:end])
        assert expected.startswith(shown)
    assert machine.found is found
    assert shown + machine.finish() == expected


def test_only_a_possible_beginning_of_a_stop_string_is_held_back() -> None:
    machine = StopStringFilter(["\ndef", "###"])
    assert machine.feed("x = 1") == "x = 1"
    assert machine.feed("\nd") == ""
    assert machine.feed("one") == "\ndone"
    assert machine.feed(" #") == " "
    assert machine.feed("#!") == "##!"


@pytest.mark.parametrize(
    "stops, at_block_end, text, reason",
    [
        ((), True, "    return 'é'\n", "block"),
        (("\n\n",), True, "    return 'é'", "stop"),
        (("pass",), True, "    return 'é'\n", "block"),
        (("é",), False, "    return '", "stop"),
        (("never",), False, "    return 'é'\n\n\ndef f(): pass\nne", "length"),
    ],
)
def test_the_finish_reason_is_the_first_event_for_any_pieces(
    stops: tuple[str, ...], at_block_end: bool, text: str, reason: str
) -> None:
    raw = "    return 'é'\n\n\ndef f(): pass\nne".encode()
    for size in (1, 2, 3, len(raw)):
        output = CompletionText("def g():\n", stops, at_block_end)
        shown = ""
        for start in range(0, len(raw), size):
            if output.finish_reason is None:
                shown += output.feed(raw[start : start + size])
        if output.finish_reason is None:
            shown += output.finish("length")
        assert (shown, output.finish_reason) == (text, reason)
        assert output.text == text
