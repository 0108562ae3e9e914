"""The gate of the mixture: the weights of the model and of each source, token by token.

``p = w_0 p_model + sum over s of w_s p_s``. The weights are a softmax of linear functions of what
is known before the token: how long the longest matching context is, how often and with how many
continuations it was seen, the model's entropy, and which best tokens agree. A source that proposes
nothing gets no weight, so the mixture sums to 1.

This module must not know where proposals come from, or how the parameters are fitted.
Sources: linear interpolation, Jelinek and Mercer 1980; with the model as one component, Grave,
Joulin and Usunier 2017 (continuous cache), Khandelwal et al. 2020 (kNN-LM).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codeling.arrays.native import kernel
from codeling.memory.source import Floats, Proposal

_kernel = kernel(__file__)
_reordering_kernel = kernel(__file__, fastmath={"reassoc", "contract", "nsz"})
"""The compiler may reorder sums for vector instructions; the order is the same at each call."""

_NEGLIGIBLE = np.float32(-80)
"""Logits further below the highest are raised to this; their exponentials stay negligible."""
_FLOOR = -12.0
"""Log-probabilities in the features are at least this, in nats."""


class Gate(NamedTuple):
    """Parameters for the model and S sources, F features."""

    weight: Floats
    """(S + 1, F); row 0 is the model's."""
    bias: Floats
    """(S + 1,)."""


def num_features(num_sources: int) -> int:
    """F for S sources."""
    return 3 + 8 * num_sources + num_sources * (num_sources - 1) // 2


@_kernel
def fill_features(
    entropy: Any,
    highest: Any,
    model_top: Any,
    position: Any,
    rests: Any,
    matches: Any,
    tops: Any,
    model_of_tops: Any,
    x: Any,
) -> None:
    """The features of one position, to ``x`` (F,), roughly in -1 to 1.

    Of the model: entropy, log-probability of its most likely token and that token; of S sources:
    ``rests`` (S,), ``matches`` (S, 3) order, C and D, ``tops`` (S,) the most likely tokens or -1,
    and ``model_of_tops`` (S,) the model's log-probability of them.
    """
    x[0] = entropy / 4 - 1
    x[1] = max(highest, _FLOOR) / 2 + 1
    x[2] = math.log(1.0 + position) / 4 - 1
    place = 3
    for source in range(len(rests)):
        order, num_seen, num_distinct = matches[source]
        known = min(max(1 - rests[source], 1e-4), 1 - 1e-4)
        x[place] = math.log(1.0 + order) - 1
        x[place + 1] = 1.0 if order == 0 else 0.0
        x[place + 2] = order / 12 - 1
        x[place + 3] = math.log(1.0 + num_seen) / 2 - 1
        x[place + 4] = math.log(1.0 + num_distinct) - 1
        x[place + 5] = math.log(known / (1 - known)) / 3
        x[place + 6] = 1.0 if tops[source] == model_top else 0.0
        x[place + 7] = (max(model_of_tops[source], _FLOOR) if tops[source] >= 0 else _FLOOR) / 6 + 1
        place += 8
        for other in range(source):
            x[place] = 1.0 if tops[source] == tops[other] else 0.0
            place += 1


@_kernel
def shares_of(x: Any, rests: Any, weight: Any, bias: Any, shares: Any) -> None:
    """The weights of the model and the sources, to ``shares`` (S + 1,)."""
    highest = -np.inf
    for row in range(len(bias)):
        value = bias[row]
        for column in range(len(x)):
            value += weight[row, column] * x[column]
        shares[row] = value if row == 0 or rests[row - 1] < 1 else -np.inf
        highest = max(highest, shares[row])
    total = 0.0
    for row in range(len(bias)):
        shares[row] = math.exp(shares[row] - highest)
        total += shares[row]
    for row in range(len(bias)):
        shares[row] /= total


@_reordering_kernel
def exponentials(logits: Any, highest: Any) -> Any:
    """The sum of ``e = exp(logits - highest)`` and of ``e * (logits - highest)``, logits (V,).

    In fp32. The compiler makes vector instructions of this polynomial (Cephes, ``expf``), but not
    of ``math.exp``.
    """
    total, weighted = np.float32(0), np.float32(0)
    for token in range(len(logits)):
        below = max(logits[token] - highest, _NEGLIGIBLE)
        power = np.floor(below * np.float32(1.44269504) + np.float32(0.5))
        x = below - power * np.float32(0.693359375) + power * np.float32(2.12194440e-4)
        value = np.float32(1.9875691500e-4)
        value = value * x + np.float32(1.3981999507e-3)
        value = value * x + np.float32(8.3334519073e-3)
        value = value * x + np.float32(4.1665795894e-2)
        value = value * x + np.float32(1.6666665459e-1)
        value = value * x + np.float32(0.5)
        value = value * x * x + x + np.float32(1)
        value *= np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)
        total += value
        weighted += value * below
    return total, weighted


@_kernel
def mix_row(
    logits: Any,
    position: Any,
    ids: Any,
    probabilities: Any,
    ends: Any,
    rests: Any,
    matches: Any,
    weight: Any,
    bias: Any,
    scratch: Any,
    shares: Any,
) -> None:
    """Replace ``logits`` (V,) by the log-probabilities of the mixture.

    The proposals of S sources are concatenated: those of source s end at ``ends[s]``. The weights
    are written to ``shares`` (S + 1,). ``scratch`` is integers (S,), floats (2, S) and (F,).
    """
    highest, model_top = logits[0], 0
    for token in range(len(logits)):
        if logits[token] > highest:
            highest, model_top = logits[token], token
    total, weighted = exponentials(logits, highest)
    log_total = math.log(np.float64(total))
    norm = np.float64(highest) + log_total
    num_sources = len(rests)
    tops, floats, x = scratch
    model_of_tops, sums = floats[0], floats[1]
    tops[:], floats[:] = -1, 0
    begin = 0
    for source in range(num_sources):
        largest = 0.0
        for index in range(begin, ends[source]):
            token, probability = ids[index], probabilities[index]
            sums[source] += probability
            if probability > largest or (probability == largest and token < tops[source]):
                largest, tops[source] = probability, token
        if tops[source] >= 0:
            model_of_tops[source] = logits[tops[source]] - norm
        begin = ends[source]
    fill_features(
        log_total - weighted / total,
        -log_total,
        model_top,
        position,
        rests,
        matches,
        tops,
        model_of_tops,
        x,
    )
    shares_of(x, rests, weight, bias, shares)
    shift = norm - math.log(shares[0]) if shares[0] > 0 else np.inf
    for token in range(len(logits)):
        logits[token] -= shift
    begin = 0
    for source in range(num_sources):
        if rests[source] < 1:
            share = shares[source + 1] / sums[source]
            for index in range(begin, ends[source]):
                token = ids[index]
                given = share * probabilities[index]
                if given > 0:
                    logits[token] = math.log(math.exp(np.float64(logits[token])) + given)
        begin = ends[source]


def mix(
    logits: Floats, position: int, proposals: Sequence[Proposal], gate: Gate
) -> NDArray[np.float64]:
    """Replace ``logits`` (V,) by log-probabilities of the mixture; return the shares (S + 1,).

    ``position`` is the number of tokens before this one.
    """
    num_sources = len(proposals)
    shares = np.empty(num_sources + 1)
    mix_row(
        logits,
        position,
        np.concatenate([each.ids for each in proposals]),
        np.concatenate([each.probabilities for each in proposals]),
        np.cumsum([len(each.ids) for each in proposals]),
        np.array([each.rest if len(each.ids) else 1.0 for each in proposals]),
        np.array([each[3:] for each in proposals]),
        gate.weight,
        gate.bias,
        (
            np.empty(num_sources, np.int64),
            np.empty((2, num_sources)),
            np.empty(gate.weight.shape[1]),
        ),
        shares,
    )
    return shares
