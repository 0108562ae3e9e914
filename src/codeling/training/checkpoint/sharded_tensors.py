"""The tensors of a checkpoint in pieces: every process writes and reads those that it has.

For models that several processes share. The pieces are safetensors files below ``sharded/``,
one a process; where in its tensor a piece belongs stands in the file's own metadata, so they
are read again by any number of processes, or by one alone. Nothing is pickled to a file. Built
on ``torch.distributed.checkpoint`` with its safetensors storage. This module must not know
what the tensors mean. What it needs of torch takes a second to import, so that is done in the
functions.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

FOLDER = "sharded"


def write(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write the pieces of ``tensors`` that this process has; all processes call it together.

    Of a tensor that more than one has whole, one of them writes it.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    writer = HuggingFaceStorageWriter(str(folder / FOLDER), save_distributed=True)
    save(dict(tensors), storage_writer=writer)


def read(checkpoint: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fill ``tensors`` in place with what stands in ``checkpoint``; all processes together.

    Each may be in other pieces than it was written in.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(checkpoint / FOLDER))
    load(dict(tensors), storage_reader=reader)


def names(checkpoint: Path) -> set[str]:
    """The tensors that stand in ``checkpoint``."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    reader = HuggingFaceStorageReader(str(checkpoint / FOLDER))
    return set(reader.read_metadata().state_dict_metadata)


def read_whole(checkpoint: Path) -> dict[str, Tensor]:
    """All of every tensor, on the processor, in this process alone."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    path = str(checkpoint / FOLDER)
    tensors: dict[str, Tensor] = {}
    for name, stored in HuggingFaceStorageReader(path).read_metadata().state_dict_metadata.items():
        assert isinstance(stored, TensorStorageMetadata)
        tensors[name] = torch.empty(stored.size, dtype=stored.properties.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        load(tensors, storage_reader=HuggingFaceStorageReader(path), no_dist=True)
    return tensors
