"""Weights that know the corpus's bigrams, and how to copy, before training begins.

The embeddings and the last block's MLP learn what follows each token, from counts over the whole
corpus: of each row they are told all that ever followed, not one sample of it, and there is nothing
to attend to. That takes a few seconds, where a short run spends a good part of its steps on it and
reads a few percent of the corpus. It is the last MLP so that the blocks before it see tokens as
they are: :mod:`codeling.training.warm_start.induction_heads` builds heads there that copy. What
comes out is a GPT-2
like any other; the rest is as drawn. ``docs/results.md`` has what it brings. Embeddings that have
seen more text than the model: Welch, Mihalcea & Kummerfeld 2020, "Improving Low Compute Language
Modeling with In-Domain Embedding Initialisation".
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codeling.dataset.bigrams import Bigrams, count_bigrams
from codeling.dataset.rng import Purpose, generator
from codeling.dataset.tokens import TokenFile
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2, Block
from codeling.progress import SILENT, Progress
from codeling.recipe import TrainingRecipe
from codeling.training.machine import Machine, native_dtype
from codeling.training.optimizer.optimizer import Optimizer
from codeling.training.schedule import learning_rate
from codeling.training.warm_start.induction_heads import build_heads, place_positions

ROWS = 512
"""Ids in an update."""
_LOGITS_AT_ONCE = 1 << 22
_RATE = 3.0
"""Of the peak rates of training: the gradient has hardly any noise."""
_WARMUP = 0.05


def begin(
    recipe: TrainingRecipe,
    config: GPT2Config,
    tokens: TokenFile,
    boundary: int,
    machine: Machine,
    progress: Progress = SILENT,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Tensor] | None:
    """Weights to begin with as ``recipe``, a resolved one, has it: they know what follows each
    token, and where to look for what followed it before.

    ``boundary`` stands between documents. Several processes learn the same.
    """
    model = GPT2(config)
    model.initialize(recipe.seed)
    model.to(machine.device)
    model.compute_dtype = machine.dtype
    place_positions(model)
    bigrams = count_bigrams(tokens, config.vocab_size, boundary)
    if not learn_bigrams(model, bigrams, recipe, progress, should_stop):
        return None
    build_heads(model, bigrams.frequencies())
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def learn_bigrams(
    model: GPT2,
    bigrams: Bigrams,
    recipe: TrainingRecipe,
    progress: Progress = SILENT,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train the embeddings and the last MLP of ``model`` in place; False where ``should_stop``
    said so, which is asked before each update.

    ``recipe``, a resolved one, says how many updates, and the peak rates of training.
    """
    assert recipe.warm_start_steps is not None
    assert recipe.adamw_lr is not None
    assert recipe.muon_lr is not None
    num_updates = recipe.warm_start_steps
    device = model.wte.weight.device
    block = f"h.{model.config.n_layer - 1}."
    names = ("wte.", f"{block}ln_2.", f"{block}mlp.", "ln_f.")
    learned = {name: p for name, p in model.named_parameters() if name.startswith(names)}
    optimizer = Optimizer(
        learned,
        adamw_lr=_RATE * recipe.adamw_lr,
        muon_lr=_RATE * recipe.muon_lr,
        weight_decay=0.0,
        muon_products=native_dtype(device),
    )
    shares = bigrams.frequencies()
    chances = _chances(shares, min(ROWS, bigrams.vocab_size))
    drawn = generator(Purpose.BIGRAMS, recipe.seed)
    with progress.task("learning bigrams", num_updates, "updates") as advance:
        for update in range(num_updates):
            if should_stop():
                return False
            ids = _draw(chances, drawn)
            weights = shares[ids] / chances[ids]
            positions = drawn.integers(model.config.context_length, size=len(ids))
            nats = 0.0
            for part in np.array_split(
                np.arange(len(ids)), -(-len(ids) * bigrams.vocab_size // _LOGITS_AT_ONCE)
            ):
                wanted = bigrams.probabilities(ids[part])
                loss = _loss(model, ids[part], positions[part], weights[part], wanted)
                loss.backward()  # type: ignore[no-untyped-call]
                nats += loss.item()
            optimizer.clip_gradients(1.0)
            optimizer.step(learning_rate(update, num_updates, _WARMUP))
            advance(1, f"{nats:.3f} nats per token")
    return True


def _loss(
    model: GPT2,
    ids: NDArray[np.int64],
    positions: NDArray[np.int64],
    weights: NDArray[np.float64],
    wanted: NDArray[np.float32],
) -> Tensor:
    """Weighted sum of the cross entropies, in nats, of what follows ``ids`` (N,)."""
    head, block = model.wte.weight, model.h[-1]
    assert isinstance(block, Block)
    x = head[torch.from_numpy(ids)] + model.wpe.weight.detach()[torch.from_numpy(positions)]
    x = x.to(model.compute_dtype)
    x = model.ln_f(x + block.mlp(block.ln_2(x)))
    logarithms = torch.log_softmax(x @ head.to(x.dtype).T, -1, dtype=torch.float32)
    weighed = torch.from_numpy(wanted * weights[:, None].astype(np.float32))
    return -(weighed.to(head.device) * logarithms).sum()


def _chances(shares: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """Of each id to be in an update of so many, (V,): as the root of how often it is met, so
    that rare ones have their turn, and at most 1.
    """
    wanted = np.sqrt(shares + shares[shares > 0].min(initial=1.0))
    chances: NDArray[np.float64] = wanted * (rows / wanted.sum())
    while chances.max() > 1:
        sure = chances >= 1
        rest = (rows - sure.sum()) / wanted[~sure].sum() if not sure.all() else 0.0
        chances = np.where(sure, 1.0, wanted * rest)
    return chances


def _draw(chances: NDArray[np.float64], drawn: np.random.Generator) -> NDArray[np.int64]:
    """Different ids, each with its chance: one random start, then even steps (Madow 1949)."""
    marks = np.arange(round(chances.sum())) + drawn.random()
    return np.unique(np.minimum(np.searchsorted(np.cumsum(chances), marks), len(chances) - 1))
