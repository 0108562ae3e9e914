import pytest
import torch

from codeling.model.cache import KeyValueCache
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2

CONFIG = GPT2Config(vocab_size=50, context_length=24, n_layer=2, n_head=2, n_embd=16)


def random_model(seed: int = 0) -> GPT2:
    """All weights random: blocks of a fresh model are the identity, and would hide mistakes."""
    model = GPT2(CONFIG)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model


def random_ids(*shape: int) -> torch.Tensor:
    return torch.randint(50, shape, generator=torch.Generator().manual_seed(sum(shape)))


@torch.inference_mode()
@pytest.mark.parametrize("pieces", [[24], [1] * 24, [7, 1, 1, 10, 5], [23, 1]], ids=str)
def test_reading_in_pieces_equals_reading_at_once(pieces: list[int]) -> None:
    model, ids = random_model(), random_ids(3, 24)
    cache = KeyValueCache(CONFIG, 3)
    logits = torch.cat([model(piece, cache) for piece in torch.split(ids, pieces, dim=1)], dim=1)
    torch.testing.assert_close(logits, model(ids), atol=1e-4, rtol=0)
    assert cache.lengths == [24, 24, 24]


@torch.inference_mode()
def test_rows_of_different_lengths_equal_each_alone() -> None:
    model, lengths = random_model(), [5, 1, 12, 0, 19]
    ids = random_ids(5, 24)
    cache = KeyValueCache(CONFIG, 5)
    padded = torch.full((5, 19), 49)
    for row, length in enumerate(lengths):
        padded[row, :length] = ids[row, :length]
    model.hidden(padded, cache)
    cache.set_lengths(lengths)
    for step in range(5):
        at = torch.tensor(lengths) + step
        logits = model(ids[torch.arange(5), at][:, None], cache)[:, 0]
        for row, length in enumerate(lengths):
            alone = model(ids[row : row + 1, : length + step + 1])[0, -1]
            torch.testing.assert_close(logits[row], alone, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_select_and_replace_move_rows() -> None:
    model, ids = random_model(), random_ids(3, 10)
    cache = KeyValueCache(CONFIG, 3)
    model(ids, cache)
    chosen = cache.select([2, 0, 0])
    fresh = KeyValueCache(CONFIG, 1, capacity=6)
    model(ids[1:2, :4], fresh)
    chosen.replace([1], fresh)
    assert chosen.lengths == [10, 4, 10]
    last = torch.tensor([[7], [8], [9]])
    logits = model(last, chosen)[:, 0]
    contexts = [ids[2], ids[1, :4], ids[0]]
    for row, context in enumerate(contexts):
        alone = model(torch.cat([context, last[row]])[None])[0, -1]
        torch.testing.assert_close(logits[row], alone, atol=1e-4, rtol=0)
    assert cache.lengths == [10, 10, 10]


def test_capacity_is_at_most_the_context() -> None:
    assert KeyValueCache(CONFIG, 1, capacity=99).capacity == 24
    assert KeyValueCache(CONFIG, 1, capacity=5).keys.shape == (2, 1, 2, 5, 8)
    with pytest.raises(AssertionError, match="more tokens than"):
        KeyValueCache(CONFIG, 1, capacity=5).positions(6)
