import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeling.errors import RecipeError
from codeling.model.config import GPT2Config
from codeling.recipe import PRESETS, Recipe, parse_recipe, read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def resolved(*overrides: str) -> Recipe:
    return parse_recipe("", overrides).resolved()


def complaint(text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, overrides).resolved()
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_is_valid(path: Path) -> None:
    recipe = read_recipe(path).resolved()
    assert recipe.model.n_layer is not None
    assert recipe == recipe.resolved() == parse_recipe(recipe.to_toml())


def test_the_defaults_equal_the_demo_recipe() -> None:
    demo = parse_recipe("", ["training.minutes=6.0"])
    (path,) = (path for path in RECIPES if path.stem == "demo")
    assert read_recipe(path).resolved() == demo.resolved()


@pytest.mark.parametrize("size", PRESETS)
def test_the_size_fills_in_missing_keys(size: str) -> None:
    recipe = resolved(f"model.size={size}")
    for table, values in PRESETS[size].items():
        section = getattr(recipe, table)
        assert {key: getattr(section, key) for key in values} == values
    kept = resolved(f"model.size={size}", "model.n_layer=3", "training.muon_lr=0.5")
    assert (kept.model.n_layer, kept.training.muon_lr) == (3, 0.5)
    assert kept.model.n_embd == PRESETS[size]["model"]["n_embd"]


def test_small_is_gpt2_124m_except_for_its_vocabulary() -> None:
    shape = PRESETS["small"]["model"]
    assert GPT2Config(vocab_size=50257, **shape).num_parameters == 124_439_808


def test_the_default_length_is_six_minutes() -> None:
    assert resolved().training.minutes == 6.0
    for override in ("training.tokens=1000000", "training.steps=7"):
        assert resolved(override).training.minutes is None


@settings(max_examples=50)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.floats(0.001, 1e6),
    st.integers(1, 10**9),
    st.booleans(),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=3),
)
def test_recipes_survive_a_round_trip_through_toml(
    device: str, minutes: float, steps: int, by_clock: bool, exclude: list[str]
) -> None:
    recipe = Recipe.model_validate(
        {
            "corpus": {"exclude": exclude, "sources": [{"kind": "folder", "path": "a/b c"}]},
            "training": {"device": device}
            | ({"minutes": minutes} if by_clock else {"steps": steps}),
        }
    )
    assert parse_recipe(recipe.to_toml()) == recipe
    assert parse_recipe(recipe.resolved().to_toml()) == recipe.resolved()


@pytest.mark.parametrize(
    ("override", "table", "key", "value"),
    [
        ("training.steps=100", "training", "steps", 100),
        ("training.muon_lr = 3e-4", "training", "muon_lr", 3e-4),
        ("corpus.train_on=functions", "corpus", "train_on", "functions"),
        ('corpus.train_on="functions"', "corpus", "train_on", "functions"),
        ("corpus.require_docstring=true", "corpus", "require_docstring", True),
        ('corpus.exclude=["a=b", "c"]', "corpus", "exclude", ("a=b", "c")),
        ("training.device=cuda:1", "training", "device", "cuda:1"),
    ],
)
def test_set_replaces_a_value(override: str, table: str, key: str, value: object) -> None:
    recipe = parse_recipe(f"[{table}]", [override])
    assert getattr(getattr(recipe, table), key) == value
    assert getattr(getattr(parse_recipe("", [override]), table), key) == value


def test_a_length_given_by_set_replaces_that_of_the_recipe() -> None:
    text = "[training]\nminutes = 6"
    training = parse_recipe(text, ["training.steps=5"]).training
    assert (training.minutes, training.steps) == (None, 5)
    assert parse_recipe(text, ["training.steps=5", "training.tokens=9"]).training.steps is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[training]\nstep = 5", '[training] unknown key "step"; did you mean "steps"?'),
        ("[trainin]\nsteps = 5", 'unknown key "trainin"; did you mean "training"?'),
        ("[model]\nn_layers = 5", 'did you mean "n_layer"?'),
        ('[corpus]\nsources = [{kind = "folder", pth = "x"}]', 'did you mean "path"'),
        (
            '[corpus]\nsources = [{kind = "folder", paths = "x"}]',
            '[corpus] source 1 (kind "folder"): unknown key "paths"; did you mean "path"?',
        ),
        (
            '[corpus]\nsources = [{kind = "codeparrot", paths = "x", splits = "a"}]',
            'source 1 (kind "codeparrot"): unknown key "splits"; did you mean "split"?',
        ),
        (
            '[corpus]\nsources = [{kind = "installed"}, {kind = "installed", path = "x"}]',
            'source 2 (kind "installed"): unknown key "path"; the keys are kind, weight',
        ),
        (
            '[corpus]\nsources = [{kind = "foldr", path = "x"}]',
            "source 1: unknown kind 'foldr'; did you mean \"folder\"? the kinds are installed",
        ),
        (
            '[corpus]\nsources = [{path = "x"}]',
            '[corpus] source 1: the key "kind" is missing; the kinds are installed, folder',
        ),
        ("[corpus]\nsources = [{kind = 3}]", "source 1: unknown kind 3; the kinds are installed"),
        ("[corpus]\nsources = [3]", "[corpus] source 1: write a table of keys (got 3)"),
        ("[corpus]\nsources = 3", "[corpus] sources: write a list (got 3)"),
        (
            '[corpus]\nsources = [{kind = "folder"}]',
            '[corpus] source 1 (kind "folder"): the key "path" is missing',
        ),
        (
            '[corpus]\nsources = [{kind = "rows", paths = []}]',
            '[corpus] source 1 (kind "rows"): paths: the list is empty',
        ),
        ("corpus = 3", "[corpus] write a table of keys (got 3)"),
        ('[corpus]\nsources = [{kind = "folder", path = "x", pat = 1}]', 'did you mean "path"?'),
        ("[model]\nqwertyuiop = 5", '[model] unknown key "qwertyuiop"'),
        ("[training]\nsteps = 0", "[training] steps: input should be greater than 0 (got 0)"),
        ("[training]\nwarmup_fraction = 1.5", "less than 1 (got 1.5)"),
        (
            "[training]\nminutes = inf",
            "[training] minutes: input should be a finite number (got inf)",
        ),
        (
            "[training]\nmuon_lr = nan",
            "[training] muon_lr: input should be a finite number (got nan)",
        ),
        ("[training]\nsteps = 'many'", "[training] steps: input should be a valid integer"),
        ('[model]\nsize = "huge"', "'nano', 'mini', 'small' or 'medium' (got 'huge')"),
        ("[tokenizer]\nvocab_size = 260", "greater than or equal to 261"),
        ("[model]\nn_embd = 100\nn_head = 3", "n_embd 100 is not divisible by n_head 3"),
        ("[training]\nsteps = 1\ntokens = 5", "give one of minutes, tokens, steps"),
        ("[corpus]\ntest_share = 0.6\nvalidation_share = 0.6", "leave nothing to train on"),
        ("[training]\ntokens_per_step = 1000", "is not a multiple of"),
        ("[model", "not TOML"),
        ("model = 3", "model"),
    ],
)
def test_a_wrong_recipe_is_one_line(text: str, words: str) -> None:
    assert words in complaint(text)


@pytest.mark.parametrize("override", ["steps=5", "training.steps", "training.=5", ".steps=5", ""])
def test_an_override_without_table_key_and_value_is_refused(override: str) -> None:
    assert "write table.key=value" in complaint("", override)


def test_an_override_of_an_unknown_key_is_refused() -> None:
    assert 'did you mean "steps"?' in complaint("", "training.stesp=5")
    assert "is not a table" in complaint("model = 3", "model.size=nano")


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    for path, words in (
        (tmp_path / "none.toml", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "latin.toml", "not UTF-8"),
    ):
        with pytest.raises(RecipeError, match=words):
            read_recipe(path)


def test_the_recipe_package_imports_nothing_heavy() -> None:
    program = (
        "import sys, codeling.recipe; print(sorted({'torch', 'daft', 'numpy'} & {*sys.modules}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "[]\n"
