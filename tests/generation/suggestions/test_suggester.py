from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from codeling.generation.engine import Engine
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import FastRunner
from codeling.generation.suggestions.choice import TAIL
from codeling.generation.suggestions.place import find_place, is_border
from codeling.generation.suggestions.suggester import (
    Suggester,
    SuggestionSettings,
    prompt_of,
)
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.train import train

from ..engines import random_model, tensors_of

SOURCE = Path(__file__).read_text()


@pytest.fixture(scope="module")
def engine() -> Engine:
    tokenizer = train([SOURCE], TokenizerRecipe(vocab_size=400, seed=0))
    model = GPT2(GPT2Config(400, 128, 1, 2, 32))
    model.initialize(3)
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return Engine(FastRunner(convert(model.config, tensors)), tokenizer)


@settings(max_examples=25)
@given(st.integers(0, len(SOURCE)), st.integers(0, 40), st.sampled_from([0.0, 0.001]))
def test_a_suggestion_is_part_of_one_of_the_engines_texts(
    engine: Engine, cursor: int, gap: int, threshold: float
) -> None:
    prefix, suffix = SOURCE[:cursor], SOURCE[cursor + gap :]
    suggester = Suggester(engine, SuggestionSettings(threshold, use_words=False))
    suggestion = suggester.suggest(prefix, suffix)
    place = find_place(prefix, suffix)
    if place is None:
        assert suggestion is None
        return
    request = suggester.request(place, prefix, suffix)
    sequence = engine.add(request)
    while sequence.finish_reason is None:
        engine.step()
    texts = [each.output.text for each in (sequence, *sequence.branches)]
    if suggestion is not None:
        size = len(suggestion.text)
        assert any(text[:size] == suggestion.text and is_border(text, size) for text in texts)
        assert suggestion.text == suggestion.text.rstrip() != ""
        assert suggestion.probability >= TAIL * threshold
        assert "<fim_" not in suggestion.text
    assert suggester.suggest(prefix, suffix) == suggestion


def test_suggestions_do_not_depend_on_other_requests(engine: Engine) -> None:
    cursors = [SOURCE.index(text) + len(text) for text in ("import ", "def ", "tokenizer = ")]
    suggester = Suggester(engine)
    alone = [suggester.suggest(SOURCE[:cursor]) for cursor in cursors]
    places = [find_place(SOURCE[:cursor]) for cursor in cursors]
    started = [
        (place, cursor, engine.add(suggester.request(place, SOURCE[:cursor], "")))
        for place, cursor in zip(places, cursors, strict=True)
        if place is not None
    ]
    while any(sequence.finish_reason is None for _, _, sequence in started):
        engine.step()
    together = [
        suggester.suggestion(place, SOURCE[:cursor], "", sequence)
        for place, cursor, sequence in started
    ]
    assert together == alone


@pytest.mark.parametrize("threshold", [0.1, 0.25, 0.7])
def test_a_sequence_that_ends_when_nothing_can_be_shown_gives_the_same_suggestion(
    engine: Engine, threshold: float
) -> None:
    model = random_model(GPT2Config(400, 128, 1, 2, 32), 7)
    with torch.no_grad():  # some tokens become likely
        model.ln_f.weight.mul_(8)
    sure = Engine(FastRunner(convert(model.config, tensors_of(model))), engine.tokenizer)
    suggester = Suggester(sure, SuggestionSettings(threshold, use_words=False))
    num_shown, sizes = 0, [0, 0]
    for cursor in range(100, len(SOURCE) - 500, 23):
        prefix, suffix = SOURCE[:cursor], SOURCE[cursor + 20 :]
        place = find_place(prefix, suffix)
        if place is None:
            continue
        request = suggester.request(place, prefix, suffix)
        found = []
        for index, start_length in enumerate((request.params.start_length, 0)):
            params = replace(request.params, start_length=start_length)
            sequence = sure.add(replace(request, params=params))
            while sequence.finish_reason is None:
                sure.step()
            found.append(suggester.suggestion(place, prefix, suffix, sequence))
            sizes[index] += sum(each.num_new for each in (sequence, *sequence.branches))
        assert found[0] == found[1]
        num_shown += found[0] is not None
    assert num_shown > 2
    assert sizes[0] < 0.95 * sizes[1]


def test_words_of_the_file_are_suggested_without_the_model(engine: Engine) -> None:
    suggester = Suggester(engine, SuggestionSettings(use_model=False))
    suggestion = suggester.suggest("def compute_total(): ...\n\ncomp")
    assert suggestion is not None
    assert (suggestion.text, suggestion.proposer) == ("ute_total", "words")
    assert suggester.suggest("def compute_total(): ...\n\n# comp") is None


def test_the_prompt_of_a_long_file_begins_at_a_line_and_moves_in_steps() -> None:
    text = "x = 1\n" * 10_000
    assert prompt_of("x = 1") == "x = 1"
    beginnings = {len(text[:end]) - len(prompt_of(text[:end])) for end in range(30_000, 42_000)}
    assert len(beginnings) <= 3
    for end in (30_000, 60_000):
        assert text[:end].endswith(prompt_of(text[:end]))
        assert 12_000 < len(prompt_of(text[:end])) <= 24_576
    assert prompt_of("a" * 50_000) == "a" * len(prompt_of("a" * 50_000))
