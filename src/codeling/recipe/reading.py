"""Recipes: read from TOML, override from the command line, fill in defaults, write as TOML."""

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import tomli_w
from pydantic import BaseModel, ValidationError

from codeling.errors import RecipeError
from codeling.recipe import vocabulary
from codeling.recipe.corpus import CorpusRecipe
from codeling.recipe.evaluation import EvaluationRecipe
from codeling.recipe.initial_shape import InitialShape, fill_in
from codeling.recipe.memory import MemoryRecipe
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
    memory: MemoryRecipe = MemoryRecipe()
    evaluation: EvaluationRecipe = EvaluationRecipe()

    def resolved(self, initial: InitialShape | None = None) -> "Recipe":
        """Return the recipe with all values that ``model.size`` sets.

        With ``training.init``, ``initial`` sets them; a resolved recipe needs it no more.

        :raises RecipeError: these values contradict given ones.
        """
        values = self.model_dump(mode="json", exclude_none=True)
        if initial is not None:
            given = {name: getattr(self, name).model_fields_set for name in values}
            fill_in(values, given, initial)
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
        """The recipe as TOML, which :func:`read_recipe` reads back unchanged."""
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
    """The value of ``vocab_size = "auto"``, from resolved tables."""
    parameters = vocabulary.block_parameters(model["n_layer"], model["n_embd"])
    num_tokens = training.get("tokens") or training.get("steps", 0) * training["tokens_per_step"]
    if not num_tokens:
        num_tokens = vocabulary.tokens_in(training["minutes"], parameters)
    return vocabulary.vocab_size(parameters, model["n_embd"], num_tokens)


def _apply(values: dict[str, Any], override: str, note: Callable[[str], None]) -> None:
    """Set one ``table.key=value`` in ``values``. A value that is not TOML is a plain string."""
    target, equals, value = override.partition("=")
    table, dot, key = target.strip().partition(".")
    if not (equals and dot and table and key):
        raise RecipeError(f"--set {override}: write table.key=value, such as training.steps=100")
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
    """The first error of pydantic as one line: the place, what is wrong, and what to write."""
    errors = error.errors()
    unknown = (each for each in errors if each["type"] == "extra_forbidden")
    first = next(unknown, errors[0])
    where, kind = _place(first["loc"])
    if first["type"] == "extra_forbidden":
        *where, key = where
        known = _known_keys(where, kind)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        if kind is not None and not near:
            hint = f"; the keys are {', '.join(known)}"
        return f'{_table(where, kind)}unknown key "{key}"{hint}'
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"{_table(where, None)}{_wrong_kind(first['input'])}"
    if first["type"] == "missing":
        *where, key = where
        return f'{_table(where, kind)}the key "{key}" is missing'
    is_table = len(where) < 2 or (len(where) == 3 and where[1] == "sources")
    tables, key = (where, "") if is_table else (where[:-1], f"{where[-1]}: ")
    place = _table(tables, kind) + key
    message = _MESSAGES.get(first["type"], first["msg"].removeprefix("Value error, "))
    got = first.get("input")
    shown = f" (got {got!r})" if isinstance(got, str | int | float | bool) else ""
    return f"{place}{message[:1].lower()}{message[1:]}{shown}"


_MESSAGES = {
    "dict_type": "write a table of keys",
    "model_type": "write a table of keys",
    "model_attributes_type": "write a table of keys",
    "path_type": "write a path as a string",
    "tuple_type": "write a list",
    "too_short": "the list is empty",
}
"""Plain words for the types of pydantic's errors that name Python's own types."""


def _place(location: Sequence[str | int]) -> tuple[list[str], str | None]:
    """The path of a key, and the kind of its source if it belongs to one."""
    where = [str(part) for part in location]
    if where[:2] == ["corpus", "sources"] and len(where) > 3 and where[3] in _KINDS:
        return [*where[:3], *where[4:]], where[3]
    return where, None


def _table(where: Sequence[str], kind: str | None) -> str:
    """The start of a message: the table, and for a source its number and kind."""
    if where[:2] == ["corpus", "sources"] and len(where) > 2:
        described = f"source {int(where[2]) + 1}" + (f' (kind "{kind}")' if kind else "")
        inner = f": {'.'.join(where[3:])}" if where[3:] else ""
        return f"[corpus] {described}{inner}: "
    return f"[{'.'.join(where)}] " if where else ""


def _wrong_kind(source: Any) -> str:
    kinds = f"the kinds are {', '.join(_KINDS)}"
    kind = source.get("kind") if isinstance(source, Mapping) else None
    if kind is None:
        return f'the key "kind" is missing; {kinds}'
    near = difflib.get_close_matches(str(kind), _KINDS, n=1, cutoff=0.5)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    return f"unknown kind {kind!r}; {hint}{kinds}"


_KINDS: Mapping[str, type[Section]] = {
    get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in SOURCE_KINDS
}


def _known_keys(tables: Sequence[str], kind: str | None) -> list[str]:
    """The keys of a table, or of a source of that kind."""
    if kind is not None:
        return list(_KINDS[kind].model_fields)
    section: type[BaseModel] = Recipe
    for table in tables:
        field = section.model_fields.get(table)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)
