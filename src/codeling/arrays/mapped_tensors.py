"""The tensors of a safetensors file as views of the mapped file; safetensors' own reader copies.

Format: https://github.com/huggingface/safetensors. This module must not know what the tensors mean.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {"F32": "<f4", "U8": "u1", "U16": "<u2", "U32": "<u4"}


def map_tensors(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Map ``path``: its metadata, and its tensors by name, which cannot be changed.

    :raises OSError: the file cannot be read.
    :raises ValueError, KeyError, TypeError: it is damaged, or has tensors of another type.
    """
    data = np.asarray(np.memmap(path, np.uint8, mode="r"))
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:start].tobytes())
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        piece = data[start + begin : start + end]
        tensors[name] = piece.view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return metadata, tensors
