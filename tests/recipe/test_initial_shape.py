import pytest

from codeling.errors import RecipeError
from codeling.recipe import PRESETS, Recipe, parse_recipe
from codeling.recipe.initial_shape import RATE_SHARE, InitialShape

SHAPE = InitialShape("runs/demo", 4, 3, 192, 256, 4096, 4100, "gpt2")
INIT = 'training.init="runs/demo"'


def resolved(*changes: str, shape: InitialShape = SHAPE) -> Recipe:
    return parse_recipe("", [INIT, *changes]).resolved(shape)


def complaint(*changes: str, shape: InitialShape = SHAPE) -> str:
    with pytest.raises(RecipeError) as caught:
        resolved(*changes, shape=shape)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_shape_and_the_tokenizer_come_from_the_initial_model() -> None:
    recipe = resolved()
    model = recipe.model
    assert (model.n_layer, model.n_head, model.n_embd, model.context_length) == (4, 3, 192, 256)
    assert recipe.tokenizer.vocab_size == 4100
    assert recipe.training.warm_start_steps == 0
    assert recipe.training.tokens_per_step == 8 * 256
    assert recipe.training.adamw_lr == RATE_SHARE * PRESETS["nano"]["training"]["adamw_lr"]


def test_a_resolved_recipe_stays_the_same() -> None:
    recipe = resolved("model.context_length=64")
    again = parse_recipe(recipe.to_toml())
    assert again.resolved() == again.resolved(SHAPE) == recipe.resolved(SHAPE) == recipe


def test_what_agrees_may_be_given() -> None:
    changes = ["model.n_layer=4", "model.size=nano", 'tokenizer.cut="gpt2"']
    for size in ('"auto"', "4096", "4100"):
        assert resolved(*changes, f"tokenizer.vocab_size={size}") == resolved()
    kept = resolved("training.muon_lr=0.5", "training.tokens_per_step=512")
    assert (kept.training.muon_lr, kept.training.tokens_per_step) == (0.5, 512)


def test_the_rates_are_those_of_the_nearest_width() -> None:
    wide = InitialShape("x", 12, 12, 768, 1024, 50257, 50261, "gpt2")
    training = resolved(shape=wide).training
    assert training.muon_lr == RATE_SHARE * PRESETS["small"]["training"]["muon_lr"]
    assert training.tokens_per_step == 8192


@pytest.mark.parametrize(
    "change, message",
    [
        ("model.n_layer=8", "[model] n_layer 8 contradicts [training] init: runs/demo has 4"),
        ("model.size=mini", "[model] size mini (n_layer 8) contradicts [training] init"),
        ("model.context_length=512", "context_length 512 is longer than the 256 positions of"),
        ("tokenizer.vocab_size=8192", "[tokenizer] vocab_size 8192 contradicts [training] init"),
        ('tokenizer.cut="python"', "[tokenizer] cut python contradicts [training] init"),
        ("training.warm_start_steps=9", "[training] warm_start_steps 9: the weights come from"),
    ],
)
def test_a_contradiction_is_one_line(change: str, message: str) -> None:
    assert message in complaint(change)


def test_an_unknown_cut_is_no_contradiction() -> None:
    shape = InitialShape("x", 4, 3, 192, 256, 4096, 4096, None)
    assert resolved('tokenizer.cut="python"', shape=shape).tokenizer.cut == "python"


def test_an_empty_address_is_refused() -> None:
    with pytest.raises(RecipeError, match="init is empty"):
        parse_recipe('[training]\ninit = ""\n')
