import math

import pytest
import torch
import transformers
from torch import Tensor
from torch.nn import functional

from codeling.model import gpt2
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2

CONFIG = GPT2Config(vocab_size=61, context_length=40, n_layer=2, n_head=2, n_embd=32)


def random_model() -> GPT2:
    """Model with random parameters: a zero parameter would hide a path."""
    model = GPT2(CONFIG)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2, generator=generator)
    return model


def random_ids(rows: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(CONFIG.vocab_size, (rows, length + 1), generator=generator)
    return ids[:, :-1], ids[:, 1:]


def plain_loss(model: GPT2, input_ids: Tensor, target_ids: Tensor) -> Tensor:
    return functional.cross_entropy(model(input_ids).flatten(0, 1), target_ids.flatten())


def gradients(loss: Tensor, model: GPT2) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def test_parameter_names_and_shapes_are_those_of_gpt2() -> None:
    theirs = transformers.GPT2Model(transformers.GPT2Config(**CONFIG.to_hugging_face()))
    assert {k: tuple(v.shape) for k, v in GPT2(CONFIG).state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.named_parameters()
    }


# 3 rows of 37 are 111 positions. Chunk sizes: one, a divisor, a non-divisor, all, more.
@pytest.mark.parametrize("chunk", [1, 16, 37, 100, 111, 1024])
def test_loss_and_gradients_equal_the_plain_formula(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpt2, "LOSS_CHUNK_POSITIONS", chunk)
    model, (inputs, targets) = random_model(), random_ids(3, 37)
    ours, theirs = model.loss(inputs, targets), plain_loss(model, inputs, targets)
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    expected = gradients(theirs, model)
    for name, gradient in gradients(ours, model).items():
        error = (gradient - expected[name]).norm() / expected[name].norm()
        assert error <= 1e-6, name
    # Scaling the loss scales the gradient, as gradient accumulation needs.
    for name, gradient in gradients(model.loss(inputs, targets) * 0.3, model).items():
        torch.testing.assert_close(gradient, 0.3 * expected[name], rtol=1e-4, atol=1e-6)


def test_the_loss_works_without_gradients() -> None:
    model, (inputs, targets) = random_model(), random_ids(2, 9)
    with_gradient = model.loss(inputs, targets)
    with torch.no_grad():
        without = model.loss(inputs, targets)
    assert not without.requires_grad
    assert without.item() == pytest.approx(with_gradient.item(), rel=1e-6)


@pytest.mark.parametrize("chunk", [1, 16, 1024])
def test_nats_per_token_are_the_cross_entropy(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt2, "LOSS_CHUNK_POSITIONS", chunk)
    model, (inputs, targets) = random_model(), random_ids(3, 37)
    nats = model.token_nats(inputs, targets)
    assert nats.shape == targets.shape
    with torch.no_grad():
        logits = model(inputs).flatten(0, 1)
    expected = functional.cross_entropy(logits, targets.flatten(), reduction="none")
    torch.testing.assert_close(nats.flatten(), expected, rtol=1e-5, atol=1e-6)
    assert nats.mean().item() == pytest.approx(model.loss(inputs, targets).item(), rel=1e-6)

    wanted = torch.rand(targets.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    some = model.token_nats(inputs, targets, wanted=wanted)
    torch.testing.assert_close(some, nats.where(wanted, 0.0), rtol=1e-5, atol=1e-6)
    assert not model.token_nats(inputs, targets, wanted=wanted & False).any()


def test_every_target_counts_in_the_loss_including_end_of_text_and_padding() -> None:
    # Other trainers pad with <|endoftext|> and so mask real ones; here no id is special.
    model, (inputs, targets) = random_model(), random_ids(1, 30)
    for number in range(CONFIG.vocab_size):
        alone = model.loss(inputs, torch.full_like(targets, number))
        assert alone.item() == pytest.approx(
            -model(inputs).log_softmax(-1)[..., number].mean().item(), rel=1e-5
        )


def test_bfloat16_is_close_to_single_precision() -> None:
    model, (inputs, targets) = random_model(), random_ids(4, 40)
    single = model.loss(inputs, targets)
    expected = gradients(single, model)
    model.compute_dtype = torch.bfloat16
    narrow = model.loss(inputs, targets)
    assert narrow.dtype == torch.float32
    assert narrow.item() == pytest.approx(single.item(), rel=1e-2)
    assert model(inputs).dtype == torch.bfloat16
    for name, gradient in gradients(narrow, model).items():
        assert gradient.dtype == torch.float32
        agreement = functional.cosine_similarity(gradient.flatten(), expected[name].flatten(), 0)
        assert agreement > 0.99, name


@pytest.mark.parametrize("vocab_size", [61, 4096])
def test_a_new_model_predicts_uniformly(vocab_size: int) -> None:
    model = GPT2(GPT2Config(vocab_size, 64, 2, 2, 64))
    model.initialize(seed=1)
    ids = torch.randint(vocab_size, (16, 65), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        loss = model.loss(ids[:, :-1], ids[:, 1:]).item()
    assert loss == pytest.approx(math.log(vocab_size), abs=0.05)


def test_weights_depend_on_the_seed_alone() -> None:
    def weights(seed: int) -> dict[str, Tensor]:
        torch.randn(seed + 1)  # earlier draws must not matter
        model = GPT2(CONFIG)
        model.initialize(seed)
        return model.state_dict()

    first, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    differing = {name for name in first if not torch.equal(first[name], other[name])}
    drawn = {"wte.weight", "wpe.weight"}
    for layer in range(CONFIG.n_layer):
        drawn |= {f"h.{layer}.attn.c_attn.weight", f"h.{layer}.mlp.c_fc.weight"}
    assert differing == drawn
    assert not torch.equal(first["h.0.mlp.c_fc.weight"], first["h.1.mlp.c_fc.weight"])


def test_every_parameter_gets_a_gradient() -> None:
    model, (inputs, targets) = random_model(), random_ids(2, CONFIG.context_length)
    for name, gradient in gradients(model.loss(inputs, targets), model).items():
        assert gradient.abs().sum() > 0, name
