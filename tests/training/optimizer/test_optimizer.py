import pytest
import torch
from torch import Tensor, nn

from codeling.errors import TrainingError
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.training.optimizer.muon import BatchedMuon
from codeling.training.optimizer.optimizer import Optimizer

CONFIG = GPT2Config(vocab_size=29, context_length=8, n_layer=2, n_head=2, n_embd=16)
ADAMW_LR, MUON_LR, DECAY = 0.01, 0.02, 0.1


def random_model(config: GPT2Config = CONFIG) -> GPT2:
    model = GPT2(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    return model


def optimizer_of(model: GPT2, decay: float = DECAY) -> Optimizer:
    return Optimizer(
        dict(model.named_parameters()), adamw_lr=ADAMW_LR, muon_lr=MUON_LR, weight_decay=decay
    )


def give_gradients(model: nn.Module, seed: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def addresses(tensor: Tensor) -> set[int]:
    """Memory address of each element of ``tensor``."""
    offsets = torch.zeros((), dtype=torch.long)
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        offsets = offsets.unsqueeze(-1) + torch.arange(size) * stride
    return {tensor.data_ptr() + 4 * int(offset) for offset in offsets.flatten()}


def test_every_element_of_every_parameter_is_in_exactly_one_group() -> None:
    model = random_model()
    optimizer = optimizer_of(model)
    groups = [*optimizer._adamw.param_groups, *optimizer._muon.param_groups]
    held = [addresses(parameter) for group in groups for parameter in group["params"]]
    everything = set().union(*held)
    assert len(everything) == sum(map(len, held)) == CONFIG.num_parameters
    assert everything == set().union(*(addresses(p) for p in model.parameters()))


def test_muon_has_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    optimizer = optimizer_of(random_model())
    shapes = sorted(tuple(p.shape) for g in optimizer._muon.param_groups for p in g["params"])
    width = CONFIG.n_embd
    of_a_block = [(width, width)] * 4 + [(width, 4 * width), (4 * width, width)]
    assert shapes == sorted(of_a_block * CONFIG.n_layer)


def test_matrices_decay_and_norms_and_biases_never_do() -> None:
    # In other trainers, a filter by names that match nothing lets GPT-2's LayerNorm decay. This
    # test looks at the weights, not the filter: without a gradient, only decay moves them.
    model = random_model()
    optimizer, before = optimizer_of(model), weights(model)
    for _ in range(3):
        give_gradients(model, seed=0, scale=0.0)
        optimizer.step(0.5)
    for name, now in weights(model).items():
        if now.ndim < 2:
            assert ".ln_" in name or name.startswith("ln_f") or name.endswith("bias")
            assert torch.equal(now, before[name]), name
        else:
            rate = MUON_LR if name.startswith("h.") else ADAMW_LR
            shrunk = before[name] * (1 - 0.5 * rate * DECAY) ** 3
            torch.testing.assert_close(now, shrunk, rtol=1e-6, atol=1e-7, msg=name)
    undecayed = {n for n, v in before.items() if v.ndim < 2}
    assert len(undecayed) == CONFIG.n_layer * 8 + 2


def test_a_fused_projection_is_updated_as_three_matrices() -> None:
    model = random_model()
    fused = model.get_parameter("h.1.attn.c_attn.weight")
    three = [nn.Parameter(part.detach().clone()) for part in fused.chunk(3, dim=1)]
    whole = nn.Parameter(fused.detach().clone())

    def muon(parameters: list[nn.Parameter]) -> BatchedMuon:
        return BatchedMuon([{"params": parameters}], lr=MUON_LR, weight_decay=DECAY)

    optimizer, separate, as_one = optimizer_of(model), muon(three), muon([whole])
    for step in range(3):
        give_gradients(model, seed=step)
        assert fused.grad is not None
        whole.grad = fused.grad.clone()
        for part, gradient in zip(three, fused.grad.chunk(3, dim=1), strict=True):
            part.grad = gradient.clone()
        optimizer.step(1.0)
        separate.step()
        as_one.step()
    torch.testing.assert_close(
        fused.detach(), torch.cat([part.detach() for part in three], 1), rtol=0, atol=1e-6
    )
    assert (fused - whole).abs().max() > 1e-3


def test_every_update_is_about_as_large_as_adamws() -> None:
    model = random_model()
    optimizer, before = optimizer_of(model, decay=0.0), weights(model)
    give_gradients(model, seed=1)
    optimizer.step(1.0)
    for name, now in weights(model).items():
        moved = (now - before[name]).square().mean().sqrt().item()
        muon = name.startswith("h.") and now.ndim == 2
        # AdamW's first step is the rate itself; Muon's is matched to 0.2 of it, Liu et al. 2025.
        assert moved == pytest.approx(0.2 * MUON_LR if muon else ADAMW_LR, rel=0.25), name
        assert model.get_parameter(name).grad is None


def test_a_learning_rate_of_zero_changes_nothing() -> None:
    model = random_model()
    optimizer, before = optimizer_of(model), weights(model)
    give_gradients(model, seed=1)
    optimizer.step(0.0)
    assert all(torch.equal(now, before[name]) for name, now in weights(model).items())


def test_each_step_uses_its_own_learning_rate() -> None:
    def after(fractions: list[float]) -> Tensor:
        model = random_model()
        optimizer = optimizer_of(model, decay=0.0)
        for fraction in fractions:
            start = weights(model)["wpe.weight"]
            give_gradients(model, seed=1)
            optimizer.step(fraction)
        return (weights(model)["wpe.weight"] - start).abs().mean()

    assert after([1.0, 0.25]) == pytest.approx(after([1.0, 1.0]).item() / 4, rel=1e-3)


def test_clipping_scales_all_gradients_to_one_norm() -> None:
    model = random_model()
    optimizer = optimizer_of(model)
    give_gradients(model, seed=2)
    before = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert float(optimizer.clip_gradients(0.5)) == pytest.approx(before.norm().item())
    after = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(after, before * 0.5 / before.norm(), rtol=1e-4, atol=1e-7)
    assert float(optimizer.clip_gradients(0.5)) == pytest.approx(0.5, rel=1e-4)
    optimizer.zero_gradients()
    assert all(p.grad is None for p in model.parameters())


def test_a_restored_state_continues_bit_by_bit() -> None:
    model = random_model()
    optimizer = optimizer_of(model)
    assert optimizer.state() == {}
    for step in range(3):
        give_gradients(model, seed=step)
        optimizer.step(1.0)
    saved = {name: value.clone() for name, value in optimizer.state().items()}
    other = GPT2(CONFIG)
    other.load_state_dict(model.state_dict())
    resumed = optimizer_of(other)
    resumed.load_state(saved)
    for step in range(3, 6):
        for network, its in ((model, optimizer), (other, resumed)):
            give_gradients(network, seed=step)
            its.step(0.7)
    for name, now in weights(model).items():
        assert torch.equal(now, other.get_parameter(name)), name
    assert resumed.state().keys() == optimizer.state().keys()
    for name, value in optimizer.state().items():
        assert torch.equal(value, resumed.state()[name])


def test_a_fresh_state_gives_other_weights() -> None:
    # A check of the round trip above: a fresh optimizer gives other weights.
    model = random_model()
    optimizer = optimizer_of(model)
    give_gradients(model, seed=0)
    optimizer.step(1.0)
    other = GPT2(CONFIG)
    other.load_state_dict(model.state_dict())
    fresh = optimizer_of(other)
    for network, its in ((model, optimizer), (other, fresh)):
        give_gradients(network, seed=1)
        its.step(1.0)
    assert not any(
        torch.equal(now, other.get_parameter(name)) for name, now in weights(model).items()
    )


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(29, 8, 2, 2, 32),
        GPT2Config(29, 8, 3, 2, 16),
        GPT2Config(29, 8, 1, 2, 16),
        GPT2Config(30, 8, 2, 2, 16),
    ],
    ids=str,
)
def test_the_state_of_another_model_is_refused(config: GPT2Config) -> None:
    model = random_model(config)
    optimizer = optimizer_of(model)
    give_gradients(model, seed=0)
    optimizer.step(1.0)
    with pytest.raises(TrainingError, match="does not fit the model"):
        optimizer_of(random_model()).load_state(optimizer.state())


@pytest.mark.parametrize("key", ["adamw/wte.weight", "sgd/wte.weight/step", "muon/x/momentum"])
def test_an_invalid_state_is_refused(key: str) -> None:
    with pytest.raises(TrainingError, match="does not fit the model"):
        optimizer_of(random_model()).load_state({key: torch.zeros(())})
