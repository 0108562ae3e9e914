"""The contents of a model folder: sizes, tokenizer, settings, data, scores, and how it was made.

A run folder has most of it. Values that a folder's files do not contain are None.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from codeling.errors import InputError, ModelError
from codeling.export.card_metadata import read_card
from codeling.export.model_card import by_license
from codeling.export.scores import MeasuredScore, measured_scores
from codeling.manifest import MANIFEST_NAME
from codeling.model.config import GPT2Config
from codeling.model.folder import (
    fim_spm_rate,
    named_license,
    read_config,
    read_tensors,
    resolve,
    tokenizer_digest,
    weight_files,
    weights_sha256,
)
from codeling.quantity import quantity
from codeling.recipe import Recipe, read_recipe
from codeling.report.run_files import read_json, read_json_lines
from codeling.run_folder import ADAPTATION, RunFolder, find_run_folder
from codeling.tokenizer.pretokenizer import cut_name, llama_cpp_name
from codeling.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer

Values = dict[str, Any]


def inspect_model(model: str) -> Values:
    """Everything known of a run folder, a Hugging Face folder or ``hf://owner/name``.

    :raises UsageError: it is not a model.
    :raises InputError: ``config.json``, the tokenizer or the weights are damaged, or the weights
        are of another size than ``config.json`` says.
    """
    folder = resolve(model)
    config = read_config(folder)
    run = find_run_folder(folder)
    values: Values = {
        "model": model,
        "folder": str(folder),
        "license": named_license(folder),
        "sizes": _sizes(folder, config),
        "tokenizer": _tokenizer(folder),
        "infilling": {"spm_rate": fim_spm_rate(folder)},
        "training": None,
        "data": None,
        "scores": [],
        "card": asdict(read_card(folder)) if run is None else None,
        "made": None,
        "adaptation": None,
    }
    if run is not None:
        with suppress(InputError):
            values["training"] = _training(run)
        with suppress(InputError):
            values["data"] = _data(run)
        values["scores"] = [
            asdict(each) for each in measured_scores(run.path, values["sizes"]["weights_sha256"])
        ]
        with suppress(InputError):
            values["made"] = _made(run)
        with suppress(InputError):
            values["adaptation"], settings = _adaptation(run)
            if values["training"]:
                values["training"]["settings"] = settings
    return values


def _sizes(folder: Path, config: GPT2Config) -> Values:
    read_tensors(folder, config)  # checks names, shapes and values
    files = weight_files(folder)
    kinds: dict[str, int] = {}
    for kind, count in chain.from_iterable(map(_tensors, files)):
        kinds[kind] = kinds.get(kind, 0) + count
    return {
        "num_parameters": config.num_parameters,
        "num_block_parameters": config.num_block_parameters,
        **asdict(config),
        "types": kinds,
        "weight_bytes": sum(path.stat().st_size for path in files),
        "weights_sha256": weights_sha256(folder),
    }


def _tensors(path: Path) -> list[tuple[str, int]]:
    """Type and number of values of every tensor in a file."""
    try:
        with safe_open(path, framework="numpy") as file:
            parts = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118 - no mapping
            return [(part.get_dtype(), math.prod(part.get_shape())) for part in parts]
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a safetensors file, or damaged ({error})") from error


def _tokenizer(folder: Path) -> Values:
    tokenizer = Tokenizer.load(folder)
    text = tokenizer.to_json()
    return {
        "vocab_size": tokenizer.vocab_size,
        "cut": cut_name(text),
        "llama_cpp_pre": llama_cpp_name(text),
        "special_tokens": {
            name: number
            for name in SPECIAL_TOKENS
            if (number := tokenizer.find_special(name)) is not None
        },
        "can_infill": tokenizer.can_infill,
        "digest": tokenizer.digest,
        "belongs_to_the_weights": tokenizer.has_digest(tokenizer_digest(folder)),
    }


def _recipe(run: RunFolder) -> Recipe | None:
    return read_recipe(run.recipe) if run.recipe.is_file() else None


def _training(run: RunFolder) -> Values:
    lines = read_json_lines(run.path, "metrics.jsonl")
    last: dict[str, Values] = {line["kind"]: line for line in lines if "kind" in line}
    step, validation = last.get("step", {}), last.get("validation", {})
    recipe = _recipe(run)
    return {
        "steps": step.get("step"),
        "tokens": step.get("tokens"),
        "seconds": step.get("seconds"),
        "validation_bits_per_byte": validation.get("bits_per_byte"),
        "settings": recipe.training.model_dump(mode="json", exclude_none=True) if recipe else None,
    }


def _data(run: RunFolder) -> Values:
    report = read_json(run.path, "corpus/report.json")
    recipe = _recipe(run)
    train_on = recipe.corpus.train_on if recipe else "files"
    size = "bytes" if train_on == "files" else "function_bytes"
    sources = [source for source in report["sources"] if "train" in source["splits"]]
    sources.sort(key=lambda source: (-source[size], source["repository"]))
    return {
        "train_on": train_on,
        "documents": report["splits"]["train"][train_on],
        "bytes": report["splits"]["train"][size],
        "by_license": by_license(sources, size),
        "sources": [
            {"repository": each["repository"], "license": each["license"], "bytes": each[size]}
            for each in sources
        ],
    }


def _made(run: RunFolder) -> Values:
    stages: Mapping[str, Values] = read_json(run.path, MANIFEST_NAME)["stages"]
    stage = stages.get("training") or {}
    inputs = stage.get("inputs", {})
    return {
        "finished": stage.get("finished"),
        "versions": stage.get("versions"),
        "git_commit": stage.get("git_commit"),
        "initial_weights_sha256": inputs.get("the weights of training.init"),
        "seconds_by_stage": {name: each["seconds"] for name, each in stages.items()},
    }


def _adaptation(run: RunFolder) -> tuple[Values, Values]:
    """The contents of ``adaptation.json``, and the settings of its training."""
    values = read_json(run.path, ADAPTATION)
    scores = {
        when: {name: value for name, value in values[when].items() if name != "lines"}
        for when in ("before", "after")
    }
    found = {"model": values["model"], "project": values["project"], **scores}
    return found, values["settings"]["training"]


def as_text(values: Values) -> list[str]:
    """The same for a person, one line each."""
    sizes, tokenizer = values["sizes"], values["tokenizer"]
    kinds = ", ".join(f"{count:,} {name}" for name, count in sizes["types"].items())
    special = ", ".join(f"{name} {number}" for name, number in tokenizer["special_tokens"].items())
    cut = tokenizer["cut"] or "its own"
    llama = tokenizer["llama_cpp_pre"]
    rows = [
        ("folder", values["folder"]),
        ("licence", values["license"] or "its card names none"),
        (
            "parameters",
            f"{sizes['num_parameters']:,} ({sizes['num_block_parameters']:,} in blocks): "
            f"{quantity(sizes['n_layer'], 'layer')}, {quantity(sizes['n_head'], 'head')}, "
            f"width {sizes['n_embd']}",
        ),
        ("context", quantity(sizes["context_length"], "token")),
        (
            "weights",
            f"{quantity(sizes['weight_bytes'], 'byte')} ({kinds}), "
            f"SHA-256 {sizes['weights_sha256']}",
        ),
        ("vocabulary", f"{quantity(tokenizer['vocab_size'], 'entry')}, cut: {cut}"),
        ("in llama.cpp", f"the cut {llama}" if llama else "no such cut: ids differ there"),
        ("special", special),
        ("infilling", "yes" if tokenizer["can_infill"] else "no"),
    ]
    if not tokenizer["belongs_to_the_weights"]:
        rows.append(("warning", "tokenizer.json is not the tokenizer of the training"))
    rows += [*_training_rows(values), *_data_rows(values), *_score_rows(values)]
    rows += [*_made_rows(values), *_adaptation_rows(values), *_card_rows(values)]
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}} {value}" for name, value in rows]


def _training_rows(values: Values) -> list[tuple[str, str]]:
    training = values["training"]
    if training is None or training["steps"] is None:
        return [("training", "the folder does not say")]
    rows = [
        (
            "training",
            f"{quantity(training['tokens'], 'token')} in {quantity(training['steps'], 'step')}, "
            f"{quantity(training['seconds'], 'second')}",
        )
    ]
    settings = training["settings"] or {}
    if init := settings.get("init"):
        rows.append(("started from", init))
    keys = ("tokens_per_step", "adamw_lr", "muon_lr", "fim_rate", "fim_spm_rate", "seed")
    rows.append(
        ("settings", ", ".join(f"{key} {settings[key]:g}" for key in keys if key in settings))
    )
    return rows


def _data_rows(values: Values) -> list[tuple[str, str]]:
    data = values["data"]
    if data is None:
        return [("data", "the folder does not say")]
    size = quantity(data["bytes"], "byte")
    rows = [("data", f"{data['documents']:,} {data['train_on']}, {size}")]
    total = sum(each["bytes"] for each in data["by_license"])
    for each in data["by_license"][:8]:
        share = 100 * each["bytes"] / max(1, total)
        num = quantity(each["repositories"], "repository")
        rows.append(("", f"{share:5.1f} %  {each['license']} ({num})"))
    if len(data["by_license"]) > 8:
        rows.append(("", f"and {len(data['by_license']) - 8} more licences: --json lists all"))
    return rows


def _score_rows(values: Values) -> list[tuple[str, str]]:
    rows = []
    for each in values["scores"]:
        value, interval = MeasuredScore(**each).as_text()
        shown = f" ({interval})" if interval else ""
        rows.append((each["suite"], f"{each['name']}: {value}{shown}, {each['data']}"))
    return rows or [("scores", "none measured")]


def _adaptation_rows(values: Values) -> list[tuple[str, str]]:
    adaptation = values["adaptation"]
    if adaptation is None:
        return []
    train = adaptation["project"]["train"]
    before, after = adaptation["before"], adaptation["after"]
    return [
        ("adapted from", adaptation["model"]),
        ("to a project", f"{quantity(train['files'], 'file')}, {quantity(train['bytes'], 'byte')}"),
        ("next line", f"{before['next_line']:.1%} -> {after['next_line']:.1%} exactly right"),
        (
            "with memory",
            f"{before['next_line_with_memory']:.1%} -> {after['next_line_with_memory']:.1%} "
            "exactly right",
        ),
    ]


def _made_rows(values: Values) -> list[tuple[str, str]]:
    made = values["made"]
    if made is None or not made["versions"]:
        return []
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    commit = f", commit {made['git_commit']}" if made["git_commit"] else ""
    return [("made", f"{made['finished']} by {versions}{commit}")]


def _card_rows(values: Values) -> list[tuple[str, str]]:
    """Values in the card of a model outside a run folder, not measured by codeling."""
    card = values["card"]
    if card is None:
        return []
    stated = [
        *(f"base model {name}" for name in card["base_models"]),
        *(f"data set {name}" for name in card["datasets"]),
        *(f"{each['data']}: {each['metric']} {each['value']}" for each in card["scores"]),
    ]
    return [("" if number else "its card says", each) for number, each in enumerate(stated)]
