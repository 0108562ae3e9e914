"""A run folder that the previous version wrote, with its recipe keys, is continued."""

import json
from pathlib import Path
from typing import Any

import pytest

from codeling.manifest import MANIFEST_NAME, Manifest, sha256_file, write_json
from codeling.recipe import TrainingRecipe
from codeling.recipe.renamed_keys import update_settings
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData
from codeling.training.trainer import identify, identify_as_previous_version

from .runs import CONFIG, RECIPE, STEPS, assert_ended_the_same, changed, last, stop_at, train

MADE_FROM = {"tokenizer": "a", "tokens": "b"}
OTHER = changed(RECIPE, fim_rate=0.3, fim_spm_rate=0.4, warm_start_steps=5)
GOLDEN = {
    "as the tests train": (
        RECIPE,
        "319adaafbc08995f71f108bc6d1adc3c77b4d4f0fc2c8d752ec1efd1705ae0fe",
    ),
    "with renamed keys": (
        OTHER,
        "6ffac451d741c9f5246ab9635fc085dc79f5276de5660cc43f5d72c8d283656d",
    ),
}
"""Computed by ``identify`` of commit 71c05c1."""


@pytest.mark.parametrize("name", GOLDEN)
def test_the_identity_of_the_previous_version_is_known(name: str) -> None:
    recipe, digest = GOLDEN[name]
    assert identify_as_previous_version(recipe, CONFIG, MADE_FROM) == digest
    assert identify(recipe, CONFIG, MADE_FROM) != digest


def write_as_before(checkpoint: Path, identity: str) -> None:
    """Rewrite ``state.json`` with the keys of the previous version, and the digest of it."""
    values = json.loads((checkpoint / state.STATE_FILE).read_bytes())
    plan = ("num_steps", "tokens_per_step", "micro_batch_size", "matrix_flops")
    keys = ("format", "step", "seconds", "position")
    old: dict[str, Any] = {key: values[key] for key in keys}
    old |= {"identity": identity, "seen": {"bad_steps": 0, "losses": []}}
    old["plan"] = {key: values["plan"][key] for key in plan}
    write_json(checkpoint / state.STATE_FILE, old)
    digests = json.loads((checkpoint / MANIFEST_NAME).read_bytes())
    digests[state.STATE_FILE] = sha256_file(checkpoint / state.STATE_FILE)
    write_json(checkpoint / MANIFEST_NAME, digests)


@pytest.mark.usefixtures("small_and_quick")
def test_a_checkpoint_of_the_previous_version_is_continued(
    inputs: TrainingData, whole: Path, tmp_path: Path
) -> None:
    checkpoint = stop_at(5, RECIPE, inputs, tmp_path)
    before = identify_as_previous_version(RECIPE, CONFIG, MADE_FROM)
    write_as_before(checkpoint, before)
    stop_at(
        2, RECIPE, inputs, tmp_path,
        identity=identify(RECIPE, CONFIG, MADE_FROM), previous_identity=before,
    )  # fmt: skip
    assert state.checkpoints(tmp_path / "checkpoints")[-1].name == state.folder_name(7)
    result = train(RECIPE, CONFIG, inputs, tmp_path, identity=identify(RECIPE, CONFIG, MADE_FROM))
    assert result.num_steps == STEPS
    assert state.load_without_tensors(last(tmp_path)).identity != before
    assert_ended_the_same(tmp_path, whole)


OLD_SETTINGS = {
    "training.bigram_updates": 120, "training.infilling_rate": 0.5,
    "training.suffix_first_rate": 0.5, "training.isolate_documents": False,
    "training.average_tail": 0.0, "training.packing": "stream", "training.spike_sigma": None,
}  # fmt: skip


@pytest.mark.parametrize(
    "old, reason",
    [
        ({}, None),
        ({"training.infilling_rate": 0.1}, "training.fim_rate changed from 0.1 to 0.5"),
        ({"training.average_tail": 0.2}, "training.average_tail changed from 0.2 to null"),
    ],
    ids=str,
)
def test_a_stage_recorded_under_old_keys_is_unchanged(
    tmp_path: Path, old: dict[str, Any], reason: str | None
) -> None:
    current = TrainingRecipe(warm_start_steps=120).model_dump(mode="json")
    settings = {f"training.{key}": value for key, value in current.items()}
    unrenamed = {k: v for k, v in settings.items() if "fim_" not in k and "masking" not in k}
    del unrenamed["training.warm_start_steps"]
    Manifest(tmp_path).record("training", unrenamed | OLD_SETTINGS | old, {}, [], 1.0)
    manifest = Manifest(tmp_path, update_settings)
    assert manifest.reason_to_run("training", settings, {}) == reason
