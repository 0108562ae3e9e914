"""What all tests share: one thread, and a small tokenizer made from real Python."""

import os
import signal
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train

# Matrices as small as those of the tests only wait for each other on several threads. Set before
# torch is imported, so that nothing has to import it that does not need it.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
os.environ["DAFT_ANALYTICS_ENABLED"] = "0"  # asked when daft is imported
# A shell starts its background jobs with Ctrl-C ignored, and what tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def machine_as_it_was() -> Iterator[None]:
    """Undo what :func:`codeling.training.machine.set_up` sets for the whole process."""
    yield
    if torch := sys.modules.get("torch"):
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)
        torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def python_files() -> list[str]:
    """Real Python: modules of the running interpreter's standard library, largest last."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    names = (
        "this keyword bisect contextlib textwrap heapq tokenize inspect ast typing decimal "
        "argparse json/decoder email/header asyncio/streams logging/handlers"
    )
    paths = [folder / f"{name}.py" for name in names.split()]
    return [path.read_text(encoding="utf-8") for path in paths if path.exists()]


@pytest.fixture(scope="session")
def tokenizer(python_files: list[str]) -> Tokenizer:
    """512 entries learned from :func:`python_files`."""
    return train(python_files, TokenizerRecipe(vocab_size=512))


@pytest.fixture(scope="session")
def corpus_process() -> Iterator[None]:
    """One process for all corpus builds of the session; not imported where no test builds one."""
    from .corpus_process import shared_corpus_process

    with shared_corpus_process():
        yield
