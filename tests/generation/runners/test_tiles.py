"""Tiles of products compared with numpy, for every kind of processor that this one can run."""

from typing import Any

import numpy as np
import pytest
from numba import njit

from codeling.generation.runners import tiles
from codeling.generation.runners.processor import FEATURES, GROUP, LANES, DotInstruction
from codeling.generation.runners.tiles import Int8Dot

KINDS = {
    "avx512vnni": {"avx512vnni", "avx512f"},
    "avxvnni": {"avxvnni"},
    "avx2": {"avx2"},
    "none": set[str](),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "blocks"), [(1, 4), (6, 1), (8, 2)])
def test_a_tile_of_int8_products_is_exact(kind: str, rows: int, blocks: int) -> None:
    # avx512vl has the 256-bit instruction of avxvnni
    runs = KINDS[kind] <= FEATURES or (kind == "avxvnni" and {"avx512vnni", "avx512vl"} <= FEATURES)
    if not runs:
        pytest.skip(f"this processor has no {kind}")
    dot = DotInstruction(KINDS[kind])
    tile = tiles.int8_tile(rows, blocks, Int8Dot(dot))
    num_groups = 2
    length = num_groups * GROUP
    random = np.random.default_rng(0)
    weight = random.integers(-127, 128, (LANES * blocks, length))
    weight[0] = 127
    inputs = random.integers(-127, 128, (rows, length))
    inputs[0] = 127
    shape = blocks, LANES, length // dot.size, dot.size
    packed = (weight + 128).astype(np.uint8).reshape(shape).transpose(0, 2, 1, 3)
    x = inputs.astype(f"int{dot.activation_bits}").reshape(-1)
    scales = np.array([0.5, 2] * rows, np.float32)
    sums = inputs.reshape(rows, num_groups, GROUP).sum(2)
    offsets = (-128 * sums).astype(np.int32).reshape(-1)
    y = np.empty(rows * blocks * LANES, np.float32)

    @njit  # type: ignore[untyped-decorator]
    def run(x: Any, scales: Any, offsets: Any, weight: Any, y: Any) -> None:
        tile(x, scales, offsets, 0, weight, 0, num_groups, y)

    run(x, scales, offsets, np.ascontiguousarray(packed).reshape(blocks, -1), y)
    products = inputs.reshape(rows, 1, num_groups, GROUP) * weight.reshape(-1, num_groups, GROUP)
    expected = (products.sum(-1) * [0.5, 2]).sum(-1)
    assert np.array_equal(y.reshape(rows, -1), expected)
