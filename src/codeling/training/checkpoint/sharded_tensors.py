"""The tensors of a sharded model in a checkpoint: every process writes and reads its own shards.

Each process writes one safetensors file into ``sharded/``. The file's metadata has the place of
each shard in its tensor, so any number of processes can read the files. Nothing is pickled. Built
on ``torch.distributed.checkpoint`` with its safetensors storage. This module must not know what the
tensors mean. The functions import torch's checkpoint modules, because that takes a second.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

FOLDER = "sharded"


def write(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write this process's shards of ``tensors``; all processes call it together.

    If several processes have a full copy of a tensor, one of them writes it.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    writer = HuggingFaceStorageWriter(str(folder / FOLDER), save_distributed=True)
    save(dict(tensors), storage_writer=writer)


def read(checkpoint: Path, tensors: Mapping[str, Tensor]) -> None:
    """Read ``tensors`` from ``checkpoint``, in place; all processes call it together.

    The shards may differ from those that were written.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(checkpoint / FOLDER))
    load(dict(tensors), storage_reader=reader)


def names(checkpoint: Path) -> set[str]:
    """Names of the tensors in ``checkpoint``."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    reader = HuggingFaceStorageReader(str(checkpoint / FOLDER))
    return set(reader.read_metadata().state_dict_metadata)


def read_unsharded(checkpoint: Path) -> dict[str, Tensor]:
    """Read all tensors unsharded, into main memory, in this process alone."""
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
