"""codeling grows a Python code model from nothing.

``codeling.load(MODEL)`` gives an engine, whose ``complete(prompt)`` gives a completion::

    model = codeling.load("runs/demo")
    print(model.complete("def mean(xs):\\n", stop_at_block_end=True))

Importing the package imports nothing heavy; torch comes with the first model.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codeling.generation.engine import Engine

    __version__: str

__all__ = ["__version__", "load"]


def load(model: str | Path, device: str = "auto") -> "Engine":
    """Read a run folder, a Hugging Face folder or ``hf://owner/name``, ready to complete.

    ``device`` is ``cpu``, ``cuda`` or ``auto``: an accelerator where there is one.

    :raises codeling.errors.UsageError: ``model`` is none of these.
    :raises codeling.errors.ModelError: the model's weights cannot be used.
    :raises codeling.errors.TokenizerError: its tokenizer cannot be used.
    """
    from codeling.generation.engine import Engine

    return Engine.load(model, device)


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("codeling")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
