"""The vector code compared with numpy."""

from typing import Any

import numpy as np
import pytest
from numba import njit

from codeling.generation.runners import vectors
from codeling.generation.runners.processor import GROUP


@njit  # type: ignore[untyped-decorator]
def _softmax(x: Any, factor: Any) -> Any:
    return vectors.softmax(x, 0, x.size, factor)


@njit  # type: ignore[untyped-decorator]
def _largest(x: Any) -> Any:
    return vectors.largest(x, 0, x.size)


@njit  # type: ignore[untyped-decorator]
def _gelu(x: Any) -> None:
    vectors.gelu(x, 0, x.size)


@njit  # type: ignore[untyped-decorator]
def _quantize(x: Any, q: Any, scales: Any, offsets: Any) -> None:
    for group in range(x.size // GROUP):
        vectors.quantize(x, GROUP * group, q, scales, offsets, group)


def test_softmax_is_that_of_numpy() -> None:
    x = np.linspace(-300, 5, 64, dtype=np.float32)
    x[-3:] = -np.inf
    wanted = np.exp(0.5 * (x.astype(np.float64) - x.max()))
    total = _softmax(x, np.float32(0.5))
    np.testing.assert_allclose(x, wanted, rtol=1e-5, atol=1e-37)
    assert not x[-3:].any()
    np.testing.assert_allclose(total, wanted.sum(), rtol=1e-5)


def test_the_largest_number_is_found_anywhere() -> None:
    for place in (0, 17, 47):
        x = np.full(48, -np.inf, np.float32)
        x[place] = -3.5
        assert _largest(x) == -3.5


def test_gelu_is_that_of_gpt2() -> None:
    x = np.linspace(-60, 60, 4096, dtype=np.float32)
    v = x.astype(np.float64)
    _gelu(x)
    wanted = 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3)))
    np.testing.assert_allclose(x, wanted, rtol=2e-5, atol=2e-7)


@pytest.mark.parametrize("bits", [8, 16])
def test_quantized_activations_are_rounded_to_their_scale(bits: int) -> None:
    x = np.random.default_rng(0).standard_normal(3 * GROUP).astype(np.float32)
    x[GROUP : 2 * GROUP] = 0
    q = np.empty(x.size, f"int{bits}")
    scales, offsets = np.empty(3, np.float32), np.empty(3, np.int32)
    _quantize(x, q, scales, offsets)
    groups, whole = x.reshape(3, GROUP), q.reshape(3, GROUP).astype(np.int64)
    np.testing.assert_allclose(scales[[0, 2]], np.abs(groups[[0, 2]]).max(1) / 127, rtol=1e-6)
    assert np.abs(whole * scales[:, None] - groups).max() <= 0.51 * scales.max()
    assert np.array_equal(offsets, -128 * whole.sum(1))
    assert not whole[1].any()
