"""Warm start: weights that predict the corpus's bigrams and copy, before training.

The embeddings and the last block's MLP learn which token follows which, from counts over the whole
corpus: their target is the full distribution of next tokens, not one sample, and attention is left
out. That takes a few seconds; a short run would spend a good part of its steps on it and see a few
percent of the corpus. The last MLP is used so that the blocks before it see plain tokens:
:mod:`codeling.training.warm_start.induction_heads` sets heads that copy there. The result is an
ordinary GPT-2; all other weights are random. ``docs/results.md`` lists the gain, ``docs/log.md``
the measurements. Embeddings from more text than the model sees: Welch, Mihalcea & Kummerfeld 2020,
"Improving Low Compute Language Modeling with In-Domain Embedding Initialisation".
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codeling.dataset.bigrams import Bigrams
from codeling.dataset.rng import Purpose, generator
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2, Block
from codeling.progress import SILENT, Progress
from codeling.quantity import quantity
from codeling.recipe import TrainingRecipe
from codeling.training.machine import Machine, native_dtype
from codeling.training.optimizer.optimizer import Optimizer
from codeling.training.schedule import learning_rate
from codeling.training.warm_start.induction_heads import (
    init_induction_heads,
    init_position_embeddings,
)

BATCH_SIZE = 512
"""Tokens per update."""
_MAX_LOGITS = 1 << 22
"""Maximum number of logits in memory."""
_RATE_FACTOR = 3.0
"""Factor on the peak rates of training: the gradient has hardly any noise."""
_WARMUP_FRACTION = 0.05


def warm_started_weights(
    recipe: TrainingRecipe,
    config: GPT2Config,
    bigrams: Bigrams,
    machine: Machine,
    progress: Progress = SILENT,
    should_stop: Callable[[], bool] = lambda: False,
    is_out_of_time: Callable[[], bool] = lambda: False,
) -> dict[str, Tensor] | None:
    """Weights that predict the corpus's bigrams and copy; None if asked to stop.

    ``recipe`` must be resolved. Several processes compute the same weights, as long as
    ``is_out_of_time``, which ends the warm start early, is False in all of them.
    """
    model = GPT2(config)
    model.initialize(recipe.seed)
    model.to(machine.device)
    model.compute_dtype = machine.dtype
    init_position_embeddings(model)
    if not learn_bigrams(model, bigrams, recipe, progress, should_stop, is_out_of_time):
        return None
    init_induction_heads(model, bigrams.frequencies())
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def learn_bigrams(
    model: GPT2,
    bigrams: Bigrams,
    recipe: TrainingRecipe,
    progress: Progress = SILENT,
    should_stop: Callable[[], bool] = lambda: False,
    is_out_of_time: Callable[[], bool] = lambda: False,
) -> bool:
    """Train the embeddings and the last MLP of ``model`` on ``bigrams``, in place.

    ``recipe`` must be resolved; it gives the number of updates and the peak rates. Both callbacks
    are called before each update: ``should_stop`` ends the function with False, ``is_out_of_time``
    with True and the weights learned so far.
    """
    assert recipe.warm_start_steps is not None
    assert recipe.adamw_lr is not None
    assert recipe.muon_lr is not None
    num_steps = recipe.warm_start_steps
    device = model.wte.weight.device
    block = f"h.{model.config.n_layer - 1}."
    names = ("wte.", f"{block}ln_2.", f"{block}mlp.", "ln_f.")
    learned = {name: p for name, p in model.named_parameters() if name.startswith(names)}
    optimizer = Optimizer(
        learned,
        adamw_lr=_RATE_FACTOR * recipe.adamw_lr,
        muon_lr=_RATE_FACTOR * recipe.muon_lr,
        weight_decay=0.0,
        muon_dtype=native_dtype(device),
    )
    frequencies = bigrams.frequencies()
    probabilities = _inclusion_probabilities(frequencies, min(BATCH_SIZE, bigrams.vocab_size))
    rng = generator(Purpose.BIGRAMS, recipe.seed)
    with progress.task("learning bigrams", num_steps, "updates") as advance:
        for step in range(num_steps):
            if should_stop():
                return False
            if is_out_of_time():
                progress.note(f"warm start ended after {step} of {quantity(num_steps, 'update')}")
                break
            ids = _draw_ids(probabilities, rng)
            weights = frequencies[ids] / probabilities[ids]
            positions = rng.integers(model.config.context_length, size=len(ids))
            nats = 0.0
            for part in np.array_split(
                np.arange(len(ids)), -(-len(ids) * bigrams.vocab_size // _MAX_LOGITS)
            ):
                targets = bigrams.probabilities(ids[part])
                loss = _loss(model, ids[part], positions[part], weights[part], targets)
                loss.backward()  # type: ignore[no-untyped-call]
                nats += loss.item()
            optimizer.clip_gradients(1.0)
            optimizer.step(learning_rate(step, num_steps, _WARMUP_FRACTION))
            advance(1, f"{nats:.3f} nats per token")
    return True


def _loss(
    model: GPT2,
    ids: NDArray[np.int64],
    positions: NDArray[np.int64],
    weights: NDArray[np.float64],
    targets: NDArray[np.float32],
) -> Tensor:
    """Weighted sum of cross entropies, in nats, of the token after each of ``ids`` (N,).

    ``targets`` (N, V) are probabilities of the next token.
    """
    head, block = model.wte.weight, model.h[-1]
    assert isinstance(block, Block)
    x = head[torch.from_numpy(ids)] + model.wpe.weight.detach()[torch.from_numpy(positions)]
    x = x.to(model.compute_dtype)
    x = model.ln_f(x + block.mlp(block.ln_2(x)))
    log_probabilities = torch.log_softmax(x @ head.to(x.dtype).T, -1, dtype=torch.float32)
    weighted = torch.from_numpy(targets * weights[:, None].astype(np.float32))
    return -(weighted.to(head.device) * log_probabilities).sum()


def _inclusion_probabilities(
    frequencies: NDArray[np.float64], batch_size: int
) -> NDArray[np.float64]:
    """Probability (V,) of each token to be in a batch, at most 1.

    It is proportional to the square root of the frequency, so that rare tokens are learned too.
    """
    wanted = np.sqrt(frequencies + frequencies[frequencies > 0].min(initial=1.0))
    probabilities: NDArray[np.float64] = wanted * (batch_size / wanted.sum())
    while probabilities.max() > 1:
        certain = probabilities >= 1
        rest = (batch_size - certain.sum()) / wanted[~certain].sum() if not certain.all() else 0.0
        probabilities = np.where(certain, 1.0, wanted * rest)
    return probabilities


def _draw_ids(probabilities: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Distinct tokens by systematic sampling: a random start, then even steps (Madow 1949)."""
    points = np.arange(round(probabilities.sum())) + rng.random()
    last = len(probabilities) - 1
    return np.unique(np.minimum(np.searchsorted(np.cumsum(probabilities), points), last))
