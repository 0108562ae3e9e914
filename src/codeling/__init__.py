"""codeling trains a Python code model from scratch.

``codeling.load(MODEL)`` returns an engine, and its ``complete(prompt)`` returns a completion::

    model = codeling.load("runs/demo")
    print(model.complete("def mean(xs):\\n", stop_at_block_end=True))

Importing the package is fast; torch is imported when the first model is loaded.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from codeling.generation.engine import Engine

    __version__: str

__all__ = ["__version__", "load"]


def load(
    model: "str | Path",
    device: str = "auto",
    *,
    precision: str = "auto",
    memory: str = "auto",
    project: "str | Path | None" = None,
) -> "Engine":
    """Load a run folder, a Hugging Face folder or ``hf://owner/name``.

    ``device`` is ``cpu``, ``cuda``, ``cuda:N`` or ``auto`` (an accelerator if there is one).
    ``precision`` of the weights is ``fp32``, ``int8`` (CPU only), or ``auto``: int8 on a CPU.
    ``memory`` is ``auto`` (the prompt, the run's corpus and the files of the folder ``project``),
    ``document`` (the prompt and the project) or ``off`` (the model alone).

    :raises codeling.errors.UsageError: an argument is none of these.
    :raises codeling.errors.ModelError: the weights cannot be used.
    :raises codeling.errors.TokenizerError: the tokenizer cannot be used.
    """
    from codeling.generation.engine import Engine
    from codeling.memory.loading import load_memory

    engine = Engine.load(model, device, precision)
    engine.memory = load_memory(model, engine.tokenizer, memory, project)
    return engine


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("codeling")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
