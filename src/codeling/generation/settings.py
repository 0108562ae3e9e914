"""What can be asked of a completion, beside its prompt: how ids are picked, and where it ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from codeling.errors import UsageError
from codeling.generation.sampling import Sampling


class Options(TypedDict, total=False):
    """The keywords of an engine's methods: the fields of :class:`Settings`."""

    max_new_tokens: int
    temperature: float
    prose_temperature: float | None
    top_k: int | None
    top_p: float | None
    stop: str | Sequence[str]
    stop_at_block_end: bool
    script_ends: Sequence[str]
    max_repeats: int
    seed: int


@dataclass(frozen=True)
class Settings(Sampling):
    """How ids are picked, and where a completion ends."""

    max_new_tokens: int = 128
    """At most this many tokens; those that write the end of a healed prompt again count too."""
    stop: str | Sequence[str] = ()
    """Texts that end a completion; none of them is ever part of it. One, or several."""
    stop_at_block_end: bool = False
    """End where the function body ends (:class:`~codeling.generation.text.blocks.BlockEnd`), and
    not by
    ``<|endoftext|>`` within a string or brackets, unless an infilling's suffix may close them."""
    script_ends: Sequence[str] = ()
    """Where ``stop_at_block_end`` is asked for and the prompt stands in no definition: end before a
    line that begins with one of these (:class:`~codeling.generation.text.scripts.ScriptEnd`)."""
    max_repeats: int = 3
    """The same tokens may come so many times in a row, short runs more often
    (:class:`~codeling.generation.cycles.Cycles`); 0: as often as the model likes."""

    def __post_init__(self) -> None:
        """Check every value. :raises UsageError: one is out of range."""
        super().__post_init__()
        if self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens must be 1 or more, not {self.max_new_tokens}")
        if self.max_repeats < 0:
            raise UsageError(f"max_repeats must be 0 or more, not {self.max_repeats}")
        if "" in self.stops:
            raise UsageError("a stop string must not be empty")

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings, however many were given."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
