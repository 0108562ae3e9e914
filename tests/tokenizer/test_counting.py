import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from codeling.errors import StorageError
from codeling.tokenizer import counting
from codeling.tokenizer.counting import count_words
from codeling.tokenizer.pretokenizer import pre_tokenizer_named

CUT = pre_tokenizer_named("gpt2")


def brute_force(texts: list[str]) -> Counter[str]:
    return Counter(word for text in texts for word, _ in CUT.pre_tokenize_str(text))


@given(
    st.lists(st.text(" \n\x85\u2028\u00a0aé中=1", max_size=20), max_size=6),
    st.sampled_from([1, 9, 10**6]),
    st.sampled_from([0, 3, 10**6]),
)
def test_counts_are_the_same_when_words_go_to_disk(
    texts: list[str], batch_characters: int, held: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_BATCH_CHARACTERS", batch_characters)
        patch.setattr(counting, "_MAX_WORDS_HELD", held)
        counts, left_out = count_words(iter(texts), CUT)
    assert (counts, left_out) == (brute_force(texts), 0)


def test_counts_of_real_files_do_not_depend_on_disk_or_order(
    python_files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = count_words(python_files, CUT)
    assert expected == brute_force(python_files)
    monkeypatch.setattr(counting, "_BATCH_CHARACTERS", 30_000)
    monkeypatch.setattr(counting, "_MAX_WORDS_HELD", 2_000)
    shuffled = random.Random(0).sample(python_files, len(python_files))
    counts, left_out = count_words(shuffled, CUT)
    assert counts == expected
    assert left_out == 0


@pytest.mark.parametrize("held", [0, 10**6])
def test_rarest_words_are_left_out_above_the_limit(
    held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"aaaa": 5, "bbbb": 4, "cc": 2, "dd": 2, "e": 1}
    text = "\n".join(word for word, count in words.items() for _ in range(count))
    monkeypatch.setattr(counting, "_MAX_WORDS_HELD", held)
    monkeypatch.setattr(
        counting, "MAX_CHARACTERS", 9
    )  # includes the newline, which occurs 13 times
    assert count_words([text], CUT) == ({"Ċ": 13, "aaaa": 5, "bbbb": 4}, 3)
    monkeypatch.setattr(counting, "MAX_CHARACTERS", 12)  # words of equal count stay or go together
    assert count_words([text], CUT) == ({"Ċ": 13, "aaaa": 5, "bbbb": 4}, 3)
    monkeypatch.setattr(counting, "MAX_CHARACTERS", 13)
    assert count_words([text], CUT)[1] == 1


def test_words_contain_no_white_space() -> None:
    # The files of sorted words on disk rely on this.
    assert not any(character.isspace() for character in pre_tokenizers.ByteLevel.alphabet())


def test_a_full_disk_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(counting, "_MAX_WORDS_HELD", 0)
    monkeypatch.setattr(counting, "_write_run", full)
    with pytest.raises(StorageError, match="no space left"):
        count_words(["x = 1\n"], CUT)
