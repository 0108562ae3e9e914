"""``[corpus]``: where the Python comes from, and what of it is kept."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from codeling.recipe.section import Positive, Section, Share


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
SOURCE_KINDS: tuple[type[Section], ...] = (Installed, Folder)


class CorpusRecipe(Section):
    """Where the Python comes from, and what of it is kept."""

    sources: tuple[Source, ...] = (Installed(),)
    train_on: Literal["files", "functions"] = "files"
    """Which of the two tables the tokenizer and the model see."""
    exclude: tuple[str, ...] = (
        *("**/_vendor/**", "**/vendored/**", "**/_vendored/**"),
        *("**/test/**", "**/tests/**", "**/testing/**"),
        *("**/test_*.py", "**/*_test.py", "**/conftest.py"),
    )
    """Path patterns left out (drop reason ``excluded``): by default vendored copies of other
    distributions, whose repository and licence would be wrong, and tests, whose asserts a small
    model repeats everywhere (``docs/results.md``)."""
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
