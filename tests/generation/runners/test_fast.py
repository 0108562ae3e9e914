"""The fast runner compared with torch, and with itself bit for bit where it promises that."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from codeling.generation.runners import Runner
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import FastRunner, Matrix, matrix
from codeling.generation.runners.processor import DOT, LANES
from codeling.generation.runners.torch import TorchRunner
from codeling.generation.scheduler import Batch, Fork, Row
from codeling.model.config import GPT2Config
from codeling.model.folder import Tensors
from codeling.model.gpt2 import GPT2

CONFIG = GPT2Config(vocab_size=70, context_length=96, n_layer=2, n_head=2, n_embd=32)


@pytest.fixture(scope="module")
def model() -> GPT2:
    network = GPT2(CONFIG)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return network


def tensors_of(model: GPT2) -> Tensors:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


@pytest.fixture(params=["fp32", "int8"])
def runner(model: GPT2, request: pytest.FixtureRequest) -> FastRunner:
    fast = FastRunner(convert(model.config, tensors_of(model), int8=request.param == "int8"))
    fast.reserve(8)
    return fast


def random_ids(count: int, seed: int = 0) -> list[int]:
    ids = np.random.default_rng(seed).integers(CONFIG.vocab_size, size=count)
    return [int(i) for i in ids]


@pytest.mark.parametrize("pieces", [[1], [5, 1, 1], [24, 1], [60, 30, 2, 1]], ids=str)
def test_logits_are_those_of_torch(model: GPT2, pieces: list[int]) -> None:
    runners: list[Runner] = [
        FastRunner(convert(model.config, tensors_of(model))),
        TorchRunner(model),
    ]
    found = []
    for each in runners:
        each.reserve(3)
        start, logits = 0, []
        for piece in pieces:
            row = Row(2, start, random_ids(sum(pieces))[start : start + piece], 1)
            logits.append(each.run(Batch(rows=[row])))
            start += piece
        found.append(np.concatenate(logits))
    np.testing.assert_allclose(found[0], found[1], atol=2e-4, rtol=0)


def test_int8_logits_are_close_to_those_of_torch(model: GPT2) -> None:
    found = []
    for each in (
        FastRunner(convert(model.config, tensors_of(model), int8=True)),
        TorchRunner(model),
    ):
        each.reserve(1)
        rows = [Row(0, place, [i], 1) for place, i in enumerate(random_ids(60))]
        found.append(np.concatenate([each.run(Batch(rows=[row])) for row in rows]))
    assert np.abs(found[0] - found[1]).mean() < 0.02 * found[1].std()


def test_a_row_is_identical_in_any_batch(runner: FastRunner) -> None:
    """Short and long prompts and single tokens at different positions, alone and together."""
    prompts = [random_ids(length, length) for length in (1, 7, 30, 2, 50)]
    together, alone = [], []
    for step in range(4):
        rows = [
            Row(slot, 0 if step == 0 else len(ids) + step - 1, ids if step == 0 else [step], 1)
            for slot, ids in enumerate(prompts)
        ]
        together.append(runner.run(Batch(rows=rows)))
    for slot, ids in enumerate(prompts):
        rows = [Row(7, 0, ids, 1)]
        rows += [Row(7, len(ids) + step - 1, [step], 1) for step in range(1, 4)]
        alone.append([runner.run(Batch(rows=[row]))[0] for row in rows])
        for step in range(4):
            assert np.array_equal(together[step][slot], alone[slot][step])


def test_a_fork_and_a_rollback_are_identical_to_a_fresh_pass(runner: FastRunner) -> None:
    ids = random_ids(20)
    fresh = runner.run(Batch(rows=[Row(0, 0, ids[:9], 0)]))
    assert fresh.shape == (0, CONFIG.vocab_size)
    fresh = runner.run(Batch(rows=[Row(0, 9, ids[9:], 1)]))
    forked = runner.run(Batch([Fork(0, 3, 9)], [Row(3, 9, ids[9:], 1)]))
    assert np.array_equal(fresh, forked)
    runner.run(Batch(rows=[Row(3, 9, random_ids(11, 5), 1)]))
    assert np.array_equal(runner.run(Batch(rows=[Row(3, 9, ids[9:], 1)])), fresh)


def test_adding_slots_keeps_the_existing_ones(runner: FastRunner) -> None:
    ids = random_ids(6)
    runner.run(Batch(rows=[Row(1, 0, ids[:5], 0)]))
    before = runner.run(Batch(rows=[Row(1, 5, ids[5:], 1)]))
    runner.reserve(20)
    assert np.array_equal(runner.run(Batch(rows=[Row(1, 5, ids[5:], 1)])), before)


def unpacked(stored: Matrix, num_outputs: int, num_inputs: int) -> NDArray[np.float32]:
    """The weights (outputs, inputs) that a matrix represents."""
    inner = DOT.size if stored.weight.dtype == np.uint8 else 1
    blocks = stored.weight.reshape(len(stored.weight), -1, LANES, inner).transpose(0, 2, 1, 3)
    whole: NDArray[np.float32] = blocks.reshape(len(stored.scale), -1).astype(np.float32)
    if inner > 1:
        whole = (whole - 128) * stored.scale[:, None]
    return whole[:num_outputs, :num_inputs]


def test_int8_is_exact_where_representable_and_close_elsewhere() -> None:
    weight = np.random.default_rng(0).standard_normal((5, 70)).astype(np.float32)
    weight[3] = 0
    bias = np.zeros(5, np.float32)
    restored = unpacked(matrix(weight, bias, int8=True), *weight.shape)
    assert np.abs(restored - weight).max() <= np.abs(weight).max() / 254 + 1e-6
    again = matrix(restored, bias, int8=True)
    assert np.array_equal(again.weight, matrix(weight, bias, int8=True).weight)
    assert np.array_equal(unpacked(matrix(weight, bias, int8=False), *weight.shape), weight)


def test_logits_are_identical_however_a_prompt_is_divided(runner: FastRunner) -> None:
    ids = random_ids(40)
    whole = runner.run(Batch(rows=[Row(0, 0, ids, 1)]))
    for pieces in ([39, 1], [1, 39], [7, 8, 9, 16], [1] * 40):
        start = 0
        for piece in pieces:
            row = Row(1, start, ids[start : start + piece], 1)
            logits = runner.run(Batch(rows=[row]))
            start += piece
        assert np.array_equal(logits, whole)
