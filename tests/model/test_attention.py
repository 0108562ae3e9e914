import pytest
import torch
from torch import Tensor
from torch.nn import functional

from codeling.model import attention
from codeling.model.attention import causal_attention, split_heads


def plain(fused: Tensor, n_head: int) -> Tensor:
    """Reference: softmax of the scaled, masked scores, times the values."""
    rows, length, width = fused.shape
    query, key, value = (
        part.view(rows, length, n_head, -1).transpose(1, 2) for part in fused.chunk(3, dim=-1)
    )
    scores = query @ key.transpose(2, 3) / query.size(-1) ** 0.5
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -torch.inf).softmax(-1)
    heads: Tensor = weights @ value
    return heads.transpose(1, 2).reshape(rows, length, width // 3)


def library(fused: Tensor, n_head: int) -> Tensor:
    query, key, value = split_heads(fused, n_head)
    y = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return y.transpose(1, 2).flatten(2)


def random_tensor(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return values.to(dtype)


@pytest.mark.parametrize("n_head", [1, 3, 4])
@pytest.mark.parametrize("length", [1, 5, 127, 128, 129, 300])
def test_blockwise_attention_equals_torch_forward_and_backward(length: int, n_head: int) -> None:
    width = 12 * n_head
    fused, toward = random_tensor(2, length, 3 * width), random_tensor(2, length, width)
    results = []
    for compute in (causal_attention, library, plain):
        leaf = fused.clone().requires_grad_()
        output = compute(leaf, n_head)
        output.backward(toward)  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        results.append((output.detach(), leaf.grad))
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("length", [1, 3, 4, 7])
def test_gradients_equal_finite_differences(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK", 3)
    fused = random_tensor(2, length, 12, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: causal_attention(x, 2), (fused,))


def test_the_result_is_the_same_without_gradients() -> None:
    fused = random_tensor(3, 200, 96)
    with_gradient = causal_attention(fused.clone().requires_grad_(), 4).detach()
    torch.testing.assert_close(causal_attention(fused, 4), with_gradient, rtol=1e-5, atol=1e-6)


def test_attention_is_causal() -> None:
    fused = random_tensor(1, 260, 48).requires_grad_()
    changed = fused.detach().clone()
    changed[:, 200:] += 10.0
    before = causal_attention(fused, 2)[:, :200]
    after = causal_attention(changed.requires_grad_(), 2)[:, :200]
    assert torch.equal(before, after)
    (gradient,) = torch.autograd.grad(before.sum(), fused)
    assert not gradient[:, 200:].any()
    assert gradient[:, :200].any()


def test_bfloat16_is_close_to_single_precision() -> None:
    fused = random_tensor(2, 150, 96)
    narrow = causal_attention(fused.bfloat16().requires_grad_(), 4)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), plain(fused, 4), rtol=2e-2, atol=2e-2)
