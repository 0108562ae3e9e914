"""The engine of a server: a model with its memory, ready for the first request."""

from collections.abc import Callable
from pathlib import Path

from codeling.generation.engine import Engine
from codeling.memory.loading import load_memory
from codeling.memory.mixture import MemoryMixture
from codeling.memory.project import ProjectMemory
from codeling.serving.remote_worker import RemoteRunner
from codeling.tokenizer.encoders import speed_up_typing


def load_engine(
    model: str,
    device: str = "auto",
    precision: str = "auto",
    memory: str = "auto",
    project: str | Path | None = None,
) -> Engine:
    """The engine of ``model`` with its memory, which reads ``project`` in the background.

    Raises like :meth:`Engine.load` and :func:`codeling.memory.loading.load_memory`.
    """
    engine = Engine.load(model, device, precision)
    engine.memory = load_memory(model, engine.tokenizer, memory, project, wait=False)
    return engine


def wait_for_project(engine: Engine) -> None:
    """Wait until the memory of ``engine`` has read its project, if it has one."""
    memory = engine.memory
    if isinstance(memory, MemoryMixture) and isinstance(memory.project, ProjectMemory):
        memory.project.wait()


def prepared(load: Callable[[], Engine]) -> Engine:
    """The engine that ``load`` gives, with all loaded that the first request would wait for."""
    engine = load()
    speed_up_typing(engine.tokenizer)
    if not isinstance(engine.runner, RemoteRunner):
        engine.complete("import os\n" * 16, max_new_tokens=2)  # a long prompt, then a few tokens
    return engine
