"""Fixtures of all tests: one thread, and a small tokenizer trained on real Python."""

import gc
import os
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train

from .forking import start_server, stop_server

# The tests' matrices are too small for several threads. Set before torch is imported, so that
# tests without torch need not import it.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
os.environ["DAFT_ANALYTICS_ENABLED"] = "0"  # read when daft is imported
# A shell starts background jobs with SIGINT ignored, and child processes would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The first example of a property may compile or import; on a busy machine any example may be slow.
settings.register_profile("codeling", deadline=None, max_examples=50)
settings.load_profile("codeling")


def pytest_collection_finish() -> None:
    """Freeze the million objects of the imports, collect garbage less often, start the server."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    if hasattr(os, "fork"):
        start_server()


@pytest.hookimpl(trylast=True)  # after the fixtures of the session
def pytest_sessionfinish() -> None:
    stop_server()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the processor time (user and system) of all processes of the tests."""
    terminalreporter.write_line(f"processor time: {sum(os.times()[:4]):.0f} s")


@pytest.fixture(autouse=True)
def machine_as_it_was() -> Iterator[None]:
    """Undoes the process-wide settings of :func:`codeling.training.machine.set_up`."""
    yield
    if torch := sys.modules.get("torch"):
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)
        torch.set_flush_denormal(False)


MakeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """A function that fills a folder once for all parallel workers of this run of the tests."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def python_files() -> list[str]:
    """Modules of the running interpreter's standard library, largest last."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    names = (
        "this keyword bisect contextlib textwrap heapq tokenize inspect ast typing decimal "
        "argparse json/decoder email/header asyncio/streams logging/handlers"
    )
    paths = [folder / f"{name}.py" for name in names.split()]
    return [path.read_text(encoding="utf-8") for path in paths if path.exists()]


@pytest.fixture(scope="session")
def tokenizer(python_files: list[str]) -> Tokenizer:
    """Tokenizer with 512 entries trained on :func:`python_files`."""
    return train(python_files, TokenizerRecipe(vocab_size=512))


@pytest.fixture(scope="session")
def corpus_process() -> Iterator[None]:
    """One process for all corpus builds of the session; not imported where no test builds one."""
    from .corpus_process import shared_corpus_process

    with shared_corpus_process():
        yield
