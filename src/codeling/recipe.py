"""What a run is made from: one TOML file, read into frozen models that refuse unknown keys.

One dial, ``model.size``, sets every value that the recipe leaves out (:data:`PRESETS`);
:meth:`Recipe.resolved` fills them in. This module must not import torch, daft or any other
room of the package but :mod:`codeling.errors`.
"""

import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from codeling.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(gt=0)]

PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "nano": {
        "model": {"n_layer": 4, "n_head": 3, "n_embd": 192, "context_length": 256},
        "tokenizer": {"vocab_size": 4096},
        "training": {"tokens_per_step": 2048, "adamw_lr": 6e-3, "muon_lr": 6e-3},
    },
    "mini": {
        "model": {"n_layer": 8, "n_head": 8, "n_embd": 512, "context_length": 1024},
        "tokenizer": {"vocab_size": 16384},
        "training": {"tokens_per_step": 32768, "adamw_lr": 4e-3, "muon_lr": 4e-3},
    },
    "small": {
        "model": {"n_layer": 12, "n_head": 12, "n_embd": 768, "context_length": 1024},
        "tokenizer": {"vocab_size": 32768},
        "training": {"tokens_per_step": 524288, "adamw_lr": 2e-3, "muon_lr": 2e-3},
    },
    "medium": {
        "model": {"n_layer": 24, "n_head": 16, "n_embd": 1024, "context_length": 1024},
        "tokenizer": {"vocab_size": 32768},
        "training": {"tokens_per_step": 524288, "adamw_lr": 1.5e-3, "muon_lr": 1.5e-3},
    },
}
"""What ``model.size`` sets. ``small`` and ``medium`` are GPT-2's 124M and 350M shapes
(Radford et al. 2019, table 2); ``nano`` and ``mini`` are for processors. What ``nano``'s
values were chosen against is in ``docs/results.md``; the rates of the others are not tuned."""


class Section(BaseModel):
    """Base of every table of a recipe: frozen, and no key it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Installed(Section):
    """The running interpreter's standard library and installed distributions."""

    kind: Literal["installed"] = "installed"


class Folder(Section):
    """A folder, taken as one repository; git checkouts below it count as their own."""

    kind: Literal["folder"]
    path: Path
    """Absolute, relative to the folder the command is run in, or beginning with ``~``."""

    @field_validator("path")
    @classmethod
    def _at_home(cls, path: Path) -> Path:
        return path.expanduser()


Source = Annotated[Installed | Folder, Field(discriminator="kind")]


class CorpusRecipe(Section):
    """Where the Python comes from, and what of it is kept."""

    sources: tuple[Source, ...] = (Installed(),)
    train_on: Literal["files", "functions"] = "files"
    """Which of the two tables the tokenizer and the model see."""
    exclude: tuple[str, ...] = ("**/_vendor/**", "**/vendored/**", "**/_vendored/**")
    """Path patterns left out (drop reason ``excluded``): by default vendored copies of other
    distributions, whose repository and licence would be wrong."""
    min_bytes: int = Field(32, ge=0)
    """Smaller files are dropped (``too_small``)."""
    max_bytes: Positive = 1_000_000
    """Larger files are dropped (``too_large``); CodeParrot's and BigCode's limit of 1 MB."""
    max_line_length: Positive = 1000
    """Files with a longer line are dropped (``long_line``); CodeParrot's threshold."""
    max_mean_line_length: Positive = 100
    """Files whose mean line is longer are dropped (``long_mean_line``); CodeParrot's threshold."""
    min_alphanumeric_fraction: float = Field(0.25, ge=0.0, le=1.0)
    """Files with a smaller fraction are dropped (``few_alphanumerics``); CodeParrot's threshold."""
    min_letter_fraction: float = Field(0.25, ge=0.0, le=1.0)
    """Files with a smaller fraction, tables of numbers mostly, are dropped (``few_letters``);
    StarCoder 2's threshold."""
    require_python3: bool = True
    """Files that ``ast.parse`` refuses are dropped (``not_python3``: Python 2, syntax errors)."""
    min_function_lines: Positive = 3
    """Shorter functions are left out of the functions table (``few_lines``); CodeSearchNet's."""
    require_docstring: bool = False
    """Functions without a docstring are left out of the functions table (``no_docstring``)."""
    validation_share: Share = 0.03
    """Of the bytes kept, by repository."""
    test_share: Share = 0.03
    """Of the bytes kept, by repository."""
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _shares_leave_room(self) -> "CorpusRecipe":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing to train on")
        return self


class TokenizerRecipe(Section):
    """The byte-level BPE that is learned on the train split."""

    vocab_size: int | None = Field(None, ge=261)
    """Entries, the 256 bytes and the five special tokens among them."""
    max_training_bytes: Positive = 200_000_000
    """Text that counts in learning the merges; of a larger corpus so many documents are drawn."""
    max_document_bytes: Positive = 20_000
    """Of one document only this much counts, so that no single large table of data decides."""
    seed: int = Field(0, ge=0)


class ModelRecipe(Section):
    """The shape of the GPT-2."""

    size: Literal["nano", "mini", "small", "medium"] = "nano"
    n_layer: Positive | None = None
    n_head: Positive | None = None
    n_embd: Positive | None = None
    context_length: int | None = Field(None, ge=16)
    """Positions; GPT-2's ``n_positions``."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ModelRecipe":
        shape = {**PRESETS[self.size]["model"], **self.model_dump(exclude_none=True)}
        if shape["n_embd"] % shape["n_head"]:
            raise ValueError(
                f"n_embd {shape['n_embd']} is not divisible by n_head {shape['n_head']}"
            )
        return self


class TrainingRecipe(Section):
    """How long, how fast, and how it survives."""

    minutes: float | None = Field(None, gt=0)
    """Length by the clock: the rate is measured first, the schedule planned from it. The
    default where neither ``tokens`` nor ``steps`` is given: 6."""
    tokens: Positive | None = None
    """Length in tokens."""
    steps: Positive | None = None
    """Length in optimizer updates."""
    tokens_per_step: Positive | None = None
    """Tokens of one optimizer update, a multiple of the model's ``context_length``."""
    micro_batch_size: Positive | None = None
    """Rows of one forward and backward pass; ``tokens_per_step`` is reached by gradient
    accumulation. Default: all rows of a step on a processor, 16 on an accelerator."""
    adamw_lr: float | None = Field(None, gt=0)
    """Peak rate of AdamW (embeddings, norms, biases)."""
    muon_lr: float | None = Field(None, gt=0)
    """Peak rate of Muon (matrices of the blocks), scaled to match AdamW's update size."""
    weight_decay: float = Field(0.1, ge=0)
    """On matrices alone; norms and biases never decay."""
    warmup_fraction: Share = 0.05
    """Of all steps; then the rate falls linearly to zero."""
    gradient_clip: float = Field(1.0, gt=0)
    """Largest global norm of the gradient."""
    infilling_rate: float = Field(0.5, ge=0, le=1)
    """Share of documents turned into fill-in-the-middle (Bavarian et al. 2022)."""
    suffix_first_rate: float = Field(0.5, ge=0, le=1)
    """Of those, the share whose suffix comes before the prefix (SPM)."""
    validation_interval: float = Field(0.1, gt=0, le=1)
    """Share of the run between two measurements on the validation split."""
    validation_tokens: Positive = 32_768
    """Tokens of one such measurement."""
    sample_interval: float = Field(0.2, gt=0, le=1)
    """Share of the run between two sample completions."""
    checkpoint_minutes: float = Field(1.0, gt=0)
    """Time between two checkpoints."""
    keep_last: Positive = 2
    """Checkpoints kept."""
    threads: Positive | None = None
    """Processor threads; default: all."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the forward and backward pass; ``auto`` takes bf16 where the hardware multiplies it
    natively. Weights are kept and updated in fp32 either way."""
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> "TrainingRecipe":
        given = [k for k in ("minutes", "tokens", "steps") if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of minutes, tokens, steps; this gives {', '.join(given)}")
        return self


class EvaluationRecipe(Section):
    """What is measured on the test split once the model is trained."""

    max_bytes: Positive = 1_000_000
    """Text of the test split scored for bits per byte, in an order drawn from ``seed``."""
    completions: int = Field(200, ge=0)
    """Function bodies completed for the parse rate."""
    max_new_tokens: Positive = 192
    """Of each completion."""
    temperature: float = Field(0.2, ge=0)
    """Of each completion."""
    seed: int = Field(0, ge=0)


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
        if training["tokens_per_step"] % context:
            raise RecipeError(
                f"[training] tokens_per_step {training['tokens_per_step']} is not a multiple of "
                f"[model] context_length {context}"
            )
        return Recipe.model_validate(values)

    def to_toml(self) -> str:
        """The recipe as TOML that :func:`read_recipe` reads back to an equal one."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read ``path`` and apply ``overrides`` of the form ``table.key=value``.

    :raises RecipeError: the file is missing or no TOML, a key is unknown (the nearest known
        one is named), a value is out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise RecipeError(f"recipe {path}: cannot be read ({reason})") from error
    return parse_recipe(text, overrides, name=f"recipe {path}")


def parse_recipe(text: str, overrides: Sequence[str] = (), name: str = "recipe") -> Recipe:
    """Like :func:`read_recipe`, from a text; ``name`` begins every error's line."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{name}: not TOML: {error}") from error
    for override in overrides:
        _apply(values, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{name}: {_explain(error)}") from error


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one ``table.key=value`` in ``values``; the value is TOML, or else a plain string."""
    target, equals, value = override.partition("=")
    table, dot, key = target.strip().partition(".")
    if not (equals and dot and table and key):
        raise RecipeError(f"--set {override}: write it as table.key=value, as training.steps=100")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    section = values.setdefault(table, {})
    if not isinstance(section, dict):
        raise RecipeError(f"--set {override}: {table} is not a table")
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
    if not tables:
        return list(Recipe.model_fields)
    section = Recipe.model_fields[tables[0]].annotation
    if len(tables) == 1 and isinstance(section, type) and issubclass(section, BaseModel):
        return list(section.model_fields)
    return sorted({*Installed.model_fields, *Folder.model_fields})
