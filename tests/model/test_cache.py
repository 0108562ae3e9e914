import pytest
import torch

from codeling.model.cache import KeyValueCache
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2

CONFIG = GPT2Config(vocab_size=50, context_length=24, n_layer=2, n_head=2, n_embd=16)


def random_model(seed: int = 0) -> GPT2:
    """Random weights: the blocks of a new model are the identity and would hide mistakes."""
    model = GPT2(CONFIG)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model


def random_ids(*shape: int) -> torch.Tensor:
    return torch.randint(50, shape, generator=torch.Generator().manual_seed(sum(shape)))


@torch.inference_mode()
@pytest.mark.parametrize("slots", [[0, 1, 2], [4, 1, 0], [3, 1, 2]], ids=str)
@pytest.mark.parametrize("pieces", [[24], [1] * 24, [7, 1, 1, 10, 5], [23, 1]], ids=str)
def test_a_pass_in_pieces_equals_one_pass(pieces: list[int], slots: list[int]) -> None:
    model, ids = random_model(), random_ids(3, 24)
    cache, start, logits = KeyValueCache(CONFIG, 5), 0, []
    for piece in torch.split(ids, pieces, dim=1):
        logits.append(model(piece, cache.rows(slots, [start] * 3, piece.size(1))))
        start += piece.size(1)
    torch.testing.assert_close(torch.cat(logits, dim=1), model(ids), atol=1e-4, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("slots", [[0, 1, 2, 3, 4], [6, 2, 3, 0, 5]], ids=str)
def test_rows_of_different_lengths_equal_rows_alone(slots: list[int]) -> None:
    model, lengths = random_model(), [5, 1, 12, 0, 19]
    ids = random_ids(5, 24)
    cache = KeyValueCache(CONFIG, 7)
    padded = torch.full((5, 19), 49)
    for row, length in enumerate(lengths):
        padded[row, :length] = ids[row, :length]
    model.hidden(padded, cache.rows(slots, [0] * 5, 19))
    for step in range(5):
        starts = [length + step for length in lengths]
        new = ids[torch.arange(5), torch.tensor(starts)][:, None]
        logits = model(new, cache.rows(slots, starts, 1))[:, 0]
        for row, start in enumerate(starts):
            alone = model(ids[row : row + 1, : start + 1])[0, -1]
            torch.testing.assert_close(logits[row], alone, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_a_fork_equals_a_fresh_pass_and_leaves_its_source_unchanged() -> None:
    model, ids = random_model(), random_ids(2, 10)
    cache = KeyValueCache(CONFIG, 2)
    model(ids[:1], cache.rows([0], [0], 10))
    before = cache.keys[:, 0].clone()
    cache.fork(0, 1, 6)
    logits = model(ids[1:, 6:], cache.rows([1], [6], 4))
    fresh = model(torch.cat([ids[:1, :6], ids[1:, 6:]], dim=1))[:, 6:]
    torch.testing.assert_close(logits, fresh, atol=1e-4, rtol=0)
    assert torch.equal(cache.keys[:, 0], before)


@torch.inference_mode()
def test_a_grown_cache_keeps_its_content() -> None:
    model, ids = random_model(), random_ids(2, 8)
    cache = KeyValueCache(CONFIG, 2)
    model(ids[:, :7], cache.rows([0, 1], [0, 0], 7))
    logits = model(ids[:, 7:], cache.grown(5).rows([0, 1], [7, 7], 1))
    torch.testing.assert_close(logits, model(ids)[:, 7:], atol=1e-4, rtol=0)


def test_capacity_is_at_most_the_context() -> None:
    assert KeyValueCache(CONFIG, 1, capacity=99).capacity == 24
    assert KeyValueCache(CONFIG, 1, capacity=5).keys.shape == (2, 1, 2, 5, 8)
    with pytest.raises(AssertionError, match="more tokens than"):
        KeyValueCache(CONFIG, 1, capacity=5).rows([0], [0], 6)
