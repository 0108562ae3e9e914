"""Keys of the previous version are accepted, with a note that names the new key."""

from typing import Any

import pytest

from codeling.errors import RecipeError
from codeling.recipe import TrainingRecipe, parse_recipe
from codeling.recipe.renamed_keys import (
    ADDED,
    REMOVED,
    RENAMED,
    previous_table,
    update_settings,
    without_added,
)

VALUES: dict[str, Any] = {
    "bigram_updates": 7,
    "infilling_rate": 0.25,
    "isolate_documents": True,
    "suffix_first_rate": 0.75,
}


@pytest.mark.parametrize("name", RENAMED)
@pytest.mark.parametrize("by_set", [False, True])
def test_an_old_name_sets_the_new_key_with_a_note(name: str, by_set: bool) -> None:
    table, old = name.split(".")
    new = RENAMED[name].split(".")[1]
    value = VALUES[old]
    written = str(value).lower()
    notes: list[str] = []
    text = "" if by_set else f"[{table}]\n{old} = {written}"
    overrides = [f"{name}={written}"] if by_set else []
    recipe = parse_recipe(text, overrides, note=notes.append)
    assert getattr(recipe.training, new) == value
    (note,) = notes
    assert f"[{table}] {old} is now called {new}" in note
    assert note.startswith(f"--set {name}={written}: " if by_set else "recipe: ")
    assert f"{new} = {written}\n" in recipe.to_toml()
    assert old not in recipe.to_toml()


def test_a_new_name_gives_no_note() -> None:
    notes: list[str] = []
    parse_recipe("[training]\nfim_rate = 0.1", ["training.fim_spm_rate=0.2"], note=notes.append)
    assert notes == []


def test_set_with_an_old_name_replaces_the_new_key_of_the_file() -> None:
    recipe = parse_recipe("[training]\nfim_rate = 0.1", ["training.infilling_rate=0.2"])
    assert recipe.training.fim_rate == 0.2


def test_a_key_under_both_names_is_an_error() -> None:
    with pytest.raises(RecipeError, match="infilling_rate is the old name of fim_rate and both"):
        parse_recipe("[training]\nfim_rate = 0.1\ninfilling_rate = 0.2", name="recipe x.toml")


def test_a_removed_key_is_accepted_only_at_its_default() -> None:
    notes: list[str] = []
    text = '[training]\naverage_tail = 0.0\npacking = "stream"'
    assert parse_recipe(text, ["training.average_tail=0"], note=notes.append) == parse_recipe("")
    assert [note.partition(": ")[2] for note in notes] == [
        "[training] average_tail was removed; delete it, the next version will reject it",
        "[training] packing was removed; delete it, the next version will reject it",
        "[training] average_tail was removed; delete it, the next version will reject it",
    ]
    for wrong in ("average_tail = 0.2", 'packing = "best_fit"', "spike_sigma = 6"):
        key = wrong.split(" ")[0]
        with pytest.raises(RecipeError, match=rf"^recipe x: \[training\] {key} was removed"):
            parse_recipe(f"[training]\n{wrong}", name="recipe x")
        with pytest.raises(RecipeError, match=rf"^--set .*: \[training\] {key} was removed"):
            parse_recipe("", [f"training.{wrong.replace(' ', '')}"])


def test_a_value_in_place_of_a_table_is_an_error() -> None:
    with pytest.raises(RecipeError, match="training"):
        parse_recipe("training = 3")


def test_recorded_settings_survive_a_round_trip() -> None:
    values = TrainingRecipe(fim_rate=0.25, warm_start_steps=3).model_dump(mode="json")
    before = previous_table("training", values)
    assert before["infilling_rate"] == 0.25
    assert before["bigram_updates"] == 3
    assert {f"training.{key}" for key in before} >= {*RENAMED, *REMOVED}
    assert not {f"training.{key}" for key in before} & {*RENAMED.values()}
    recorded = {f"training.{key}": value for key, value in before.items()}
    assert update_settings(recorded) == {f"training.{k}": v for k, v in values.items()}
    changed = recorded | {"training.average_tail": 0.2}
    assert update_settings(changed)["training.average_tail"] == 0.2


def test_a_new_key_at_its_default_changes_no_run() -> None:
    for name, default in ADDED.items():
        table, key = name.split(".")
        assert TrainingRecipe.model_fields[key].default == default
        whole = {f"{table}.other": 1, f"{table}.another": 2}  # a stage that records the table
        assert update_settings(whole) == {**whole, name: default}
        single = {f"{table}.other": 1, "corpus.other": 1}  # a stage that depends on one key of it
        assert update_settings(single) == single
        assert name not in update_settings({"corpus.other": 1})
        assert update_settings({name: "other"}) == {name: "other"}
        assert without_added(table, {key: default, "other": 1}) == {"other": 1}
        assert without_added(table, {key: "other"}) == {key: "other"}
        assert key not in previous_table(table, {key: default})
