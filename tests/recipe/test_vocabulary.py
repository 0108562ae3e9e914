import itertools

import pytest

from codeling.errors import RecipeError
from codeling.model.config import GPT2Config
from codeling.recipe import PRESETS, parse_recipe, vocabulary

AUTO = '[tokenizer]\nvocab_size = "auto"\n'


def resolved(text: str) -> object:
    return parse_recipe(AUTO + text).resolved().tokenizer.vocab_size


def test_the_demo_gets_the_vocabulary_of_its_preset() -> None:
    assert resolved("") == PRESETS["nano"]["tokenizer"]["vocab_size"] == 4096


def test_a_shorter_run_keeps_the_vocabulary_and_a_much_longer_one_gets_more() -> None:
    assert resolved("[training]\nminutes = 1\n") == 4096
    assert resolved("[training]\nminutes = 60\n") == 8192


def test_other_presets_scale_with_tokens_per_parameter() -> None:
    sizes = {}
    for name, preset in PRESETS.items():
        shape = preset["model"]
        blocks = vocabulary.block_parameters(shape["n_layer"], shape["n_embd"])
        tokens = int(vocabulary.USUAL_TOKENS_PER_PARAMETER * blocks)
        sizes[name] = resolved(f'[model]\nsize = "{name}"\n[training]\ntokens = {tokens}\n')
    assert sizes == {"nano": 4096, "mini": 16384, "small": 32768, "medium": 65536}


def test_steps_tokens_and_minutes_are_equivalent() -> None:
    n = vocabulary.block_parameters(8, 512)
    minutes = 1000.0
    steps = round(vocabulary.tokens_in(minutes, n) / 32768)
    lengths = f"tokens = {steps * 32768}", f"steps = {steps}", f"minutes = {minutes}"
    sizes = {resolved(f'[model]\nsize = "mini"\n[training]\n{length}\n') for length in lengths}
    assert len(sizes) == 1


def test_larger_models_and_longer_runs_never_get_fewer_entries() -> None:
    shapes = [(4, 128), (4, 192), (6, 256), (8, 512), (12, 768), (24, 1024), (48, 1600)]
    counts = [vocabulary.block_parameters(*shape) for shape in shapes]
    for ratio in (0.1, 1, 20, 1000):
        sizes = [
            vocabulary.vocab_size(count, width, ratio * count)
            for count, (_, width) in zip(counts, shapes, strict=True)
        ]
        assert sizes == sorted(sizes)
        assert all(1024 <= size <= 65536 for size in sizes)
    for count, (_, width) in zip(counts, shapes, strict=True):
        sizes = [vocabulary.vocab_size(count, width, 10.0**power) for power in range(4, 13)]
        assert all(b <= 2 * a for a, b in itertools.pairwise(sizes))
        assert sizes == sorted(sizes)


def test_parameters_counted_are_the_matrices_of_the_blocks() -> None:
    config = GPT2Config(4096, 256, 12, 12, 768)
    matrices = vocabulary.block_parameters(12, 768)
    assert matrices == pytest.approx(config.num_block_parameters, rel=0.01)


@pytest.mark.parametrize("value", ["260", '"many"', "true", "1e4", "[]"])
def test_other_values_are_refused_in_one_line(value: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(f"[tokenizer]\nvocab_size = {value}\n")
    line = str(caught.value)
    assert "[tokenizer] vocab_size: give an integer greater than or equal to 261" in line
    assert "\n" not in line
