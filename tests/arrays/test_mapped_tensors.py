from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from codeling.arrays.mapped_tensors import map_tensors

TENSORS: dict[str, NDArray[Any]] = {
    "floats": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bytes": np.arange(5, dtype=np.uint8),
    "shorts": np.array([1, 65535], np.uint16),
    "ints": np.array([[2**32 - 1]], np.uint32),
}


def test_tensors_and_metadata_are_those_that_were_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(TENSORS, path, {"key": "value"})
    metadata, tensors = map_tensors(path)
    assert metadata == {"key": "value"}
    assert tensors.keys() == TENSORS.keys()
    for name, expected in TENSORS.items():
        assert tensors[name].dtype == expected.dtype
        assert np.array_equal(tensors[name], expected)
        assert not tensors[name].flags.writeable


@pytest.mark.parametrize("data", [b"", b"\x01", b"\xff" * 40, b"\x02" + bytes(7) + b"{}"])
def test_a_damaged_file_is_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises((ValueError, KeyError, TypeError)):
        map_tensors(path)
