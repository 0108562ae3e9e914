"""The recipe of a training that starts from a trained model (``training.init``).

Shape and tokenizer come from that model, so ``[model]`` and ``[tokenizer]`` agree with it or are
left out. The learning rates are a share of those for a new model of the nearest width. This module
must not read the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codeling.errors import RecipeError
from codeling.recipe.training import PRESETS

RATE_SHARE = 0.25
"""Peak rates as a share of the rates for a new model; half and twice are in ``docs/log.md``."""

SEQUENCES_PER_STEP = 8
"""Sequences of one update."""


@dataclass(frozen=True)
class InitialShape:
    """The values that the recipe takes over from the initial model."""

    address: str
    """As the recipe gives it."""
    n_layer: int
    n_head: int
    n_embd: int
    context_length: int
    """Positions that it was trained with; the most that are possible."""
    own_vocab_size: int
    """Entries of its tokenizer."""
    vocab_size: int
    """The same with the tokens for infilling that this run adds."""
    cut: str | None
    """The ``tokenizer.cut`` of its tokenizer; None if it is neither."""


def fill_in(
    values: dict[str, dict[str, Any]], given: Mapping[str, set[str]], initial: InitialShape
) -> None:
    """Complete the tables of a recipe in place; ``given`` are the keys that the user wrote.

    :raises RecipeError: a given key contradicts the initial model.
    """
    model, tokenizer, training = values["model"], values["tokenizer"], values["training"]
    _fill_shape(model, given["model"], initial)
    size = tokenizer.get("vocab_size", "auto")
    if size not in ("auto", initial.own_vocab_size, initial.vocab_size):
        raise _contradiction("[tokenizer] vocab_size", size, f"{initial.own_vocab_size:,}", initial)
    tokenizer["vocab_size"] = initial.vocab_size
    if "cut" in given["tokenizer"] and initial.cut not in (None, tokenizer["cut"]):
        raise _contradiction("[tokenizer] cut", tokenizer["cut"], initial.cut, initial)
    tokenizer["cut"] = initial.cut or tokenizer["cut"]
    if training.get("warm_start_steps"):
        raise RecipeError(
            f"[training] warm_start_steps {training['warm_start_steps']}: the weights come from "
            f"init ({initial.address}); leave it out"
        )
    nearest = min(PRESETS.values(), key=lambda p: abs(p["model"]["n_embd"] - initial.n_embd))
    defaults = {
        "warm_start_steps": 0,
        "tokens_per_step": SEQUENCES_PER_STEP * model["context_length"],
        **{key: RATE_SHARE * nearest["training"][key] for key in ("adamw_lr", "muon_lr")},
    }
    values["training"] = {**defaults, **training}


def _fill_shape(model: dict[str, Any], given: set[str], initial: InitialShape) -> None:
    preset = PRESETS[model["size"]]["model"]
    for key in ("n_layer", "n_head", "n_embd"):
        own = getattr(initial, key)
        if model.get(key, own) != own:
            raise _contradiction(f"[model] {key}", model[key], own, initial)
        if key not in model and "size" in given and preset[key] != own:
            size = f"{model['size']} ({key} {preset[key]})"
            raise _contradiction("[model] size", size, f"{key} {own}", initial)
        model[key] = own
    context = model.setdefault("context_length", initial.context_length)
    if context > initial.context_length:
        raise RecipeError(
            f"[model] context_length {context:,} is longer than the {initial.context_length:,} "
            f"positions of {initial.address}: positions are learned, and further ones have no "
            f"embedding; set at most {initial.context_length:,}"
        )


def _contradiction(key: str, value: object, own: object, initial: InitialShape) -> RecipeError:
    return RecipeError(
        f"{key} {value} contradicts [training] init: {initial.address} has {own}; leave it out"
    )
