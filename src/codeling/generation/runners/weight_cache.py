"""Converted int8 weights of large models in the user's cache folder, each converted once.

A file is named after the SHA-256 of the model's weights, its sizes and the kernels' layout. It is
safetensors, memory-mapped when it is read, and holds a digest of its tensors; a damaged file is
written again. Files that were not used for longest are removed. Several processes may read and
write at the same time: a file is written under another name and renamed. This module must not know
torch.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import save_file

from codeling.arrays.mapped_tensors import map_tensors
from codeling.arrays.user_cache import user_cache_folder
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import Matrix, Weights
from codeling.generation.runners.processor import DOT
from codeling.manifest import sha256_file
from codeling.model.config import GPT2Config
from codeling.model.folder import read_tensors, weight_files

MIN_BYTES = 64 << 20
"""Smaller models are converted faster than they are looked up."""
MAX_BYTES = 2 << 30
"""Maximum size of all files together, the newest aside."""
_LAYOUT = 2
"""Changes with the meaning of the stored arrays."""

Arrays = dict[str, NDArray[Any]]


def load_int8(folder: Path, config: GPT2Config) -> Weights:
    """The int8 weights of the model in ``folder``, from the cache if they are there.

    Raises like :func:`codeling.model.folder.read_tensors`.
    """
    sources = weight_files(folder)
    if sum(path.stat().st_size for path in sources) < MIN_BYTES:
        return convert(config, read_tensors(folder, config), int8=True)
    path = user_cache_folder("weights") / f"{_key(sources, config)}.safetensors"
    with suppress(OSError, ValueError, KeyError, TypeError):  # missing or damaged
        return _read(path, config)
    weights = convert(config, read_tensors(folder, config), int8=True)
    with suppress(OSError):  # a full or read-only disk
        _write(path, weights)
        _remove_old(path)
    return weights


def _key(sources: Iterable[Path], config: GPT2Config) -> str:
    digests = [sha256_file(path) for path in sources]
    parts = [_LAYOUT, DOT.size, repr(config), *digests]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _write(path: Path, weights: Weights) -> None:
    arrays: Arrays = {"positions": weights.positions, "norms": weights.norms}
    matrices = [("embedding", weights.embedding)]
    matrices += [(str(place), each) for place, each in enumerate(weights.layers)]
    for name, matrix in matrices:
        arrays |= {f"{name}.{field}": value for field, value in matrix._asdict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    os.close(handle)
    try:
        save_file(arrays, partial, {"sha256": _digest(arrays)})
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _read(path: Path, config: GPT2Config) -> Weights:
    """Map a file. :raises ValueError: it is damaged."""
    metadata, arrays = map_tensors(path)
    if _digest(arrays) != metadata["sha256"]:
        raise ValueError("the file is damaged")
    os.utime(path)  # for _remove_old

    def matrix(name: str) -> Matrix:
        return Matrix(*(arrays[f"{name}.{field}"] for field in Matrix._fields))

    return Weights(
        n_head=config.n_head,
        epsilon=config.layer_norm_epsilon,
        vocab_size=config.vocab_size,
        embedding=matrix("embedding"),
        positions=arrays["positions"],
        norms=arrays["norms"],
        layers=(matrix("0"), matrix("1"), matrix("2"), matrix("3")),
    )


def _remove_old(newest: Path) -> None:
    """Remove the least recently used files beyond :data:`MAX_BYTES`."""
    others = [path for path in newest.parent.iterdir() if path != newest]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in others:
        total += path.stat().st_size
        if total > MAX_BYTES:
            path.unlink(missing_ok=True)
