"""A whole recipe: read from TOML, overridden from the command line, resolved, written back."""

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from codeling.errors import RecipeError
from codeling.recipe import vocabulary
from codeling.recipe.corpus import CorpusRecipe
from codeling.recipe.evaluation import EvaluationRecipe
from codeling.recipe.renamed_keys import update_key, update_recipe
from codeling.recipe.section import Section
from codeling.recipe.sources import SOURCE_KINDS
from codeling.recipe.training import PRESETS, ModelRecipe, TokenizerRecipe, TrainingRecipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]


class Recipe(Section):
    """A complete run."""

    corpus: CorpusRecipe = CorpusRecipe()
    tokenizer: TokenizerRecipe = TokenizerRecipe()
    model: ModelRecipe = ModelRecipe()
    training: TrainingRecipe = TrainingRecipe()
    evaluation: EvaluationRecipe = EvaluationRecipe()

    def resolved(self) -> "Recipe":
        """The same recipe with every value that ``model.size`` sets filled in.

        :raises RecipeError: where filled-in values contradict given ones.
        """
        values = self.model_dump(mode="json", exclude_none=True)
        for table, defaults in PRESETS[self.model.size].items():
            values[table] = {**defaults, **values[table]}
        if not {"minutes", "tokens", "steps"} & values["training"].keys():
            values["training"]["minutes"] = 6.0
        training, context = values["training"], values["model"]["context_length"]
        if values["tokenizer"]["vocab_size"] == "auto":
            values["tokenizer"]["vocab_size"] = _automatic_vocab_size(values["model"], training)
        if training["tokens_per_step"] % context:
            raise RecipeError(
                f"[training] tokens_per_step {training['tokens_per_step']} is not a multiple of "
                f"[model] context_length {context}"
            )
        return Recipe.model_validate(values)

    def to_toml(self) -> str:
        """The recipe as TOML that :func:`read_recipe` reads back to an equal one."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def read_recipe(
    path: Path,
    overrides: Sequence[str] = (),
    note: Callable[[str], None] = lambda line: None,
) -> Recipe:
    """Read ``path`` and apply ``overrides`` of the form ``table.key=value``.

    ``note`` receives one line for every key that is given under its old name.

    :raises RecipeError: the file is missing or not TOML, a key is unknown (the message names the
        nearest known one), or a value is out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise RecipeError(f"recipe {path}: cannot be read ({reason})") from error
    return parse_recipe(text, overrides, name=f"recipe {path}", note=note)


def parse_recipe(
    text: str,
    overrides: Sequence[str] = (),
    name: str = "recipe",
    note: Callable[[str], None] = lambda line: None,
) -> Recipe:
    """Like :func:`read_recipe`, from a text. ``name`` starts every error message and note."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{name}: not TOML: {error}") from error
    try:
        for line in update_recipe(values):
            note(f"{name}: {line}")
    except RecipeError as error:
        raise RecipeError(f"{name}: {error}") from error
    for override in overrides:
        _apply(values, override, note)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{name}: {_explain(error)}") from error


def _automatic_vocab_size(model: Mapping[str, Any], training: Mapping[str, Any]) -> int:
    """What ``vocab_size = "auto"`` stands for, of resolved tables."""
    parameters = vocabulary.block_parameters(model["n_layer"], model["n_embd"])
    num_tokens = training.get("tokens") or training.get("steps", 0) * training["tokens_per_step"]
    if not num_tokens:
        num_tokens = vocabulary.tokens_in(training["minutes"], parameters)
    return vocabulary.vocab_size(parameters, model["n_embd"], num_tokens)


def _apply(values: dict[str, Any], override: str, note: Callable[[str], None]) -> None:
    """Set one ``table.key=value`` in ``values``; the value is TOML, or else a plain string."""
    target, equals, value = override.partition("=")
    table, dot, key = target.strip().partition(".")
    if not (equals and dot and table and key):
        raise RecipeError(f"--set {override}: write it as table.key=value, as training.steps=100")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    try:
        current, line = update_key(f"{table}.{key}", parsed)
    except RecipeError as error:
        raise RecipeError(f"--set {override}: {error}") from error
    if line:
        note(f"--set {override}: {line}")
    if current is None:
        return
    section = values
    *tables, key = current.split(".")
    for number, name in enumerate(tables, start=1):
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            raise RecipeError(f"--set {override}: {'.'.join(tables[:number])} is not a table")
    if key in {"minutes", "tokens", "steps"} and table == "training":
        for other in ("minutes", "tokens", "steps"):
            section.pop(other, None)
    section[key] = parsed


def _explain(error: ValidationError) -> str:
    """The first complaint of pydantic as one line: which key, what is wrong, what is near."""
    complaints = error.errors()
    unknown = (each for each in complaints if each["type"] == "extra_forbidden")
    first = next(unknown, complaints[0])
    where = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        *tables, key = where
        near = difflib.get_close_matches(key, _known_keys(tables), n=1, cutoff=0.5)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        place = f"[{'.'.join(tables)}] " if tables else ""
        return f'{place}unknown key "{key}"{hint}'
    place = f"[{where[0]}] {'.'.join(where[1:])}: " if where else ""
    message = first["msg"].removeprefix("Value error, ")
    got = first.get("input")
    shown = f" (got {got!r})" if isinstance(got, str | int | float | bool) else ""
    return f"{place}{message[:1].lower()}{message[1:]}{shown}"


def _known_keys(tables: Sequence[str]) -> list[str]:
    """The keys that a table of a recipe knows; those of a source's kind for its entry."""
    section: type[BaseModel] = Recipe
    for table in tables:
        field = section.model_fields.get(table)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return sorted({key for kind in SOURCE_KINDS for key in kind.model_fields})
        section = annotation
    return list(section.model_fields)
