"""The model to export, read whole and checked before anything is written."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from codeling.errors import ModelError, StorageError, TokenizerError, UsageError, storage_errors
from codeling.manifest import sync_folder
from codeling.model.config import GPT2Config
from codeling.model.folder import (
    Tensors,
    fim_spm_rate,
    named_license,
    read_config,
    read_tensors,
    resolve,
    tokenizer_digest,
)
from codeling.run_folder import find_run_folder
from codeling.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from codeling.model.gpt2 import GPT2


@dataclass(frozen=True)
class ExportSource:
    """A model folder in memory."""

    address: str
    """As the user gave it."""
    folder: Path
    config: GPT2Config
    tensors: Tensors
    tokenizer: Tokenizer
    fim_spm_rate: float | None
    """Share of infillings in SPM order in training; None if the folder does not say."""

    @classmethod
    def read(cls, model: str) -> "ExportSource":
        """Read a run folder, a Hugging Face folder or ``hf://owner/name``.

        :raises UsageError: it is not a model.
        :raises InputError: the model or its tokenizer is damaged, or they do not belong together.
        """
        folder = resolve(model)
        config = read_config(folder)
        tokenizer = Tokenizer.load(folder)
        if tokenizer.vocab_size > config.vocab_size:
            raise TokenizerError(
                f"{folder}: the tokenizer has {tokenizer.vocab_size:,} entries, the model "
                f"{config.vocab_size:,}: they do not belong together"
            )
        if not tokenizer.has_digest(tokenizer_digest(folder)):
            raise TokenizerError(
                f"{folder}: tokenizer.json is not the tokenizer that the model was trained with"
            )
        tensors = read_tensors(folder, config)
        return cls(model, folder, config, tensors, tokenizer, fim_spm_rate(folder))

    @property
    def name(self) -> str:
        """A short name: that of the run, or of the folder."""
        run = find_run_folder(self.folder)
        return (run.path if run else Path(self.address)).resolve().name

    @property
    def license(self) -> str | None:
        """Licence that its model card names, if it names one."""
        return named_license(self.folder)

    @cached_property
    def network(self) -> "GPT2":
        """The network in fp32, to compare with."""
        import torch

        from codeling.model.gpt2 import GPT2

        network = GPT2(self.config)
        network.load_state_dict({k: torch.from_numpy(v) for k, v in self.tensors.items()})
        return network.eval()


def check_new_file(path: Path) -> None:
    """Refuse a file that exists, or that cannot be created. Nothing is written.

    :raises UsageError: ``path`` exists.
    :raises StorageError: there is no folder that it could be created in.
    """
    with _place_errors(path):
        if path.exists():
            raise UsageError(f"{path}: exists already; give a new file, or remove it first")
        _check_parent(path)


def check_new_folder(path: Path) -> None:
    """Refuse a folder that is not new, or that cannot be created. Nothing is written.

    :raises UsageError: ``path`` exists and is not an empty folder, or is named like a GGUF file.
    :raises StorageError: there is no folder that it could be created in.
    """
    if path.suffix == ".gguf":
        raise UsageError(f"{path}: a folder is written, and .gguf is the ending of GGUF files")
    with _place_errors(path):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise UsageError(f"{path}: exists already; give a new folder, or remove it first")
        _check_parent(path)


@contextmanager
def _place_errors(path: Path) -> Iterator[None]:
    """:raises StorageError: the operating system refuses."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path}: nothing can be written there ({error.strerror}); give another OUT"
        ) from error


def _check_parent(path: Path) -> None:
    """:raises OSError: no file can be created in the innermost folder that exists."""
    parent = next(each for each in path.parents if each.exists())
    if not parent.is_dir():
        raise UsageError(f"{parent}: a file, not a folder; give another OUT")
    with tempfile.TemporaryFile(dir=parent):
        pass


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` and rename it to ``path`` at the end.

    If the block raises, nothing is left.

    :raises UsageError: as :func:`check_new_folder`.
    :raises StorageError: it cannot be written.
    """
    check_new_folder(path)
    with storage_errors(path):
        partial = path.with_name(path.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
            if path.exists():
                path.rmdir()
            partial.rename(path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def check(is_right: bool, what: str) -> None:
    """:raises ModelError: what was read back is not what was written."""
    if not is_right:
        raise ModelError(f"{what} differs from the model when read back; nothing was exported")
