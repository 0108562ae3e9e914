import pytest
import torch
from torch import Tensor
from torch.nn import functional

from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2, LOSS_CHUNK_POSITIONS
from codeling.training.loss.objective import LossOptions, Objective, layout

CONFIG = GPT2Config(50, 24, 2, 2, 16)
END = 0


@pytest.fixture
def model() -> GPT2:
    model = GPT2(CONFIG)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return model


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(1, 50, (6, 25), generator=torch.Generator().manual_seed(1))


def gradients(model: GPT2, value: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], rtol=1e-4, atol=1e-6)


def test_without_options_the_objective_equals_the_loss_to_the_bit(model: GPT2, ids: Tensor) -> None:
    descended, nats = Objective(model, LossOptions())(ids)
    expected = model.loss(ids[:, :-1], ids[:, 1:])
    assert torch.equal(descended, expected)
    assert torch.equal(nats, expected)
    assert not nats.requires_grad
    ones, unweighted = Objective(model, LossOptions())(ids, torch.ones(6))
    assert torch.equal(unweighted, expected)
    torch.testing.assert_close(ones, expected)


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_options_equal_autograd_of_their_definition(
    model: GPT2, ids: Tensor, z_loss: float, weighted: bool
) -> None:
    weights = torch.tensor([0.1, 2.0, 1.0, 0.0, 1.4, 1.5]) if weighted else None
    found, nats = Objective(model, LossOptions(z_loss=z_loss))(ids, weights)
    logits = model(ids[:, :-1])
    plain = functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    per_token = plain + z_loss * torch.logsumexp(logits, -1).square()
    expected = (per_token if weights is None else per_token * weights[:, None]).mean()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(nats, plain.mean())
    assert_same_gradients(gradients(model, found), gradients(model, expected))


def test_more_positions_than_a_chunk(model: GPT2) -> None:
    rows = LOSS_CHUNK_POSITIONS // 24 + 3
    ids = torch.randint(1, 50, (rows, 25), generator=torch.Generator().manual_seed(2))
    weights = torch.rand(rows, generator=torch.Generator().manual_seed(3))
    found, _ = Objective(model, LossOptions(z_loss=0.01))(ids, weights)
    logits = model(ids[:, :-1])
    plain = functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    expected = ((plain + 0.01 * torch.logsumexp(logits, -1).square()) * weights[:, None]).mean()
    assert_same_gradients(gradients(model, found), gradients(model, expected))


def test_a_document_begins_at_its_boundary() -> None:
    ids = torch.tensor([[7, 8, END, 5, END, END, 6], [END, 1, 2, 3, 4, 5, 6]])
    positions, segments = layout(ids, END)
    assert positions is not None
    assert segments is not None
    assert positions.tolist() == [[0, 1, 0, 1, 0, 0, 1], [0, 1, 2, 3, 4, 5, 6]]
    assert segments.tolist() == [[0, 0, 1, 1, 2, 3, 3], [1, 1, 1, 1, 1, 1, 1]]
    assert layout(ids, None) == (None, None)


def isolated(model: GPT2, row: Tensor) -> Tensor:
    """Last hidden states (T, C) of one row."""
    positions, segments = layout(row[None], END)
    return model.hidden(row[None], None, positions, segments)[0]


@torch.no_grad()
def test_a_change_in_a_document_leaves_the_next_ones_logits_alone(model: GPT2) -> None:
    first, second = [3, 4, 5, 6, 7, 8], [END, 9, 10, 11, 12]
    whole = isolated(model, torch.tensor([*first, *second]))
    for change in (0, 3, 5):
        other = list(first)
        other[change] = 40
        changed = isolated(model, torch.tensor([*other, *second]))
        assert torch.equal(changed[6:], whole[6:])  # to the bit
        assert not torch.equal(changed[change], whole[change])
    # The length and the presence of an earlier document do not matter either.
    for before in (first[:2], [], first + first):
        ids = torch.tensor([*before, *second])
        torch.testing.assert_close(isolated(model, ids)[len(before) :], whole[6:])
    # Without isolation they do.
    plain = model.hidden(torch.tensor([[*first, *second]]))[0]
    assert not torch.allclose(plain[6:], whole[6:], atol=1e-2)


def test_isolated_documents_have_gradients_of_their_own(model: GPT2) -> None:
    row = torch.tensor([3, 4, 5, END, 9, 10, 11])
    embedded: list[Tensor] = []

    def keep(module: torch.nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        output.retain_grad()
        embedded.append(output)

    handle = model.wte.register_forward_hook(keep)
    isolated(model, row)[4:].square().sum().backward()  # type: ignore[no-untyped-call]
    handle.remove()
    assert embedded[0].grad is not None
    assert torch.equal(embedded[0].grad[0, :3], torch.zeros(3, 16))
    assert float(embedded[0].grad[0, 3:].abs().min()) > 0


def test_recomputed_activations_give_the_same_gradients_to_the_bit(
    model: GPT2, ids: Tensor
) -> None:
    expected = gradients(model, Objective(model, LossOptions())(ids)[0])
    model.recompute_activations = True
    for options in (LossOptions(), LossOptions(boundary=END)):
        found, _ = Objective(model, options)(ids)
        for name, gradient in gradients(model, found).items():
            if options.boundary is None:
                assert torch.equal(gradient, expected[name]), name
