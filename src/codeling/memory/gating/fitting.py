"""Fits the parameters of the memory on held-out documents, in seconds.

The trust of the interpolation of context lengths is fitted by expectation-maximization (Jelinek and
Mercer 1980), without the model. The gate is fitted by gradient descent (Adam, Kingma and Ba 2015)
on the likelihood of the mixture. The same documents give the same parameters.

This module must not know files or torch.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codeling.arrays.native import kernel
from codeling.memory import chain_kernels
from codeling.memory.chain_kernels import (
    COUNT_GROUPS,
    DISTINCT_GROUPS,
    LONGEST,
    TRUST_SHAPE,
    group,
)
from codeling.memory.gating import gate
from codeling.memory.gating.gate import Gate, fill_features, num_features, shares_of
from codeling.memory.gating.parameters import gate_name
from codeling.memory.source import Floats, Ids, Scores

_kernel = kernel(__file__, gate.__file__, chain_kernels.__file__)

_EM_STEPS = 20
_PRIOR_TRUST, _PRIOR_WEIGHT = 0.3, 5.0
"""Every cell of the trust starts as if it had been right in this share of this many cases."""

_EPOCHS, _BATCH_TOKENS, _RATE = 8, 2048, 0.05


class ModelScores(NamedTuple):
    """The model's predictions at each of T positions, and for the sources' proposals."""

    log_probability: Floats
    """(T,): of the token that follows, in nats."""
    entropy: Floats
    """(T,): nats."""
    highest: Floats
    """(T,): log-probability of the most likely token."""
    top: NDArray[np.int64]
    """(T,): that token."""
    of_tops: Floats
    """(T, S): log-probability of each source's most likely token; any value if it has none."""


class Evidence(NamedTuple):
    """The predictions of the model and of the sources at each of T positions."""

    positions: Ids
    """(T,): number of tokens before each, in its document."""
    model: ModelScores
    sources: dict[str, Scores]
    """By name; the columns of ``model.of_tops`` have the same order."""

    @classmethod
    def concatenate(cls, parts: Sequence["Evidence"]) -> "Evidence":
        """Join the evidence of several documents."""
        return cls(
            np.concatenate([part.positions for part in parts]),
            ModelScores(*map(np.concatenate, zip(*(part.model for part in parts), strict=True))),
            {
                name: Scores(
                    *map(
                        np.concatenate,
                        zip(*(part.sources[name] for part in parts), strict=True),
                    )
                )
                for name in parts[0].sources
            },
        )

    def only(self, names: Sequence[str]) -> "Evidence":
        """The evidence of the model and of some sources."""
        columns = [list(self.sources).index(name) for name in names]
        model = self.model._replace(of_tops=self.model.of_tops[:, columns])
        return Evidence(self.positions, model, {name: self.sources[name] for name in names})

    def without_model(self, vocab_size: int) -> "Evidence":
        """The same with a uniform model, to measure the memory alone."""
        value = np.float32(-np.log(vocab_size))
        flat = np.full(len(self.positions), value)
        top = np.full(len(flat), -2)  # equals no source's
        of_tops = np.full_like(self.model.of_tops, value)
        return self._replace(model=ModelScores(flat, -flat, flat, top, of_tops))


def fit_gates(evidence: Evidence, vocab_size: int) -> dict[str, Gate]:
    """Gates for the document and each set of the other sources, with and without the model."""
    gates = {}
    others = [name for name in evidence.sources if name != "document"]
    for number in range(len(others) + 1):
        for chosen in combinations(others, number):
            names = "document", *chosen
            part = evidence.only(names)
            for with_model in (True, False):
                of_gate = part if with_model else part.without_model(vocab_size)
                gates[gate_name(names, with_model=with_model)] = fit_gate(
                    gate_features(of_gate), probabilities_of(of_gate)
                )
    return gates


def fit_trust(counts: NDArray[np.int32], vocab_size: int) -> Floats:
    """The trust that predicts best, from ``counts`` (T, LONGEST, 3): c, C and D per length."""
    trust = np.full(TRUST_SHAPE, _PRIOR_TRUST)
    for _ in range(_EM_STEPS):
        right, all_cases = np.zeros((2, *TRUST_SHAPE))
        _expect(counts, trust, 1 / vocab_size, np.zeros((2, LONGEST + 1)), right, all_cases)
        trust = (right + _PRIOR_TRUST * _PRIOR_WEIGHT) / (all_cases + _PRIOR_WEIGHT)
    return trust.astype(np.float32)


@_kernel
def _expect(counts: Any, trust: Any, lowest: Any, scratch: Any, right: Any, all_cases: Any) -> None:
    """Add up, per cell, how often its context length was asked and how often it answered.

    ``scratch`` (2, LONGEST + 1) is 0.
    """
    seen, stop = scratch[0], scratch[1]
    for position in range(len(counts)):
        value = lowest
        longest = 0
        for length in range(1, LONGEST + 1):
            c, num_seen, num_distinct = counts[position, length - 1]
            if num_seen == 0:
                break
            longest = length
            row, column = group(num_seen, COUNT_GROUPS), group(num_distinct, DISTINCT_GROUPS)
            t = trust[length - 1, row, column]
            answered = t * c / num_seen
            value = answered + (1 - t) * value
            stop[length] = answered / value
        seen[longest] = 1.0
        for length in range(longest, 0, -1):
            _, num_seen, num_distinct = counts[position, length - 1]
            row, column = group(num_seen, COUNT_GROUPS), group(num_distinct, DISTINCT_GROUPS)
            right[length - 1, row, column] += seen[length] * stop[length]
            all_cases[length - 1, row, column] += seen[length]
            seen[length - 1] = seen[length] * (1 - stop[length])


def gate_features(evidence: Evidence) -> Floats:
    """Features (T, F) of the gate at each position."""
    model, sources = evidence.model, evidence.sources.values()
    x = np.empty((len(model.top), num_features(len(sources))), np.float32)
    _fill_all(
        model.entropy,
        model.highest,
        model.top,
        evidence.positions,
        np.stack([each.rest for each in sources], 1),
        np.stack([np.stack([e.order, e.num_seen, e.num_distinct], 1) for e in sources], 1),
        np.stack([each.top for each in sources], 1),
        np.ascontiguousarray(model.of_tops),
        x,
    )
    return x


@_kernel
def _fill_all(
    entropy: Any,
    highest: Any,
    model_tops: Any,
    positions: Any,
    rests: Any,
    matches: Any,
    tops: Any,
    of_tops: Any,
    x: Any,
) -> None:
    for t in range(len(x)):
        fill_features(
            entropy[t],
            highest[t],
            model_tops[t],
            positions[t],
            rests[t],
            matches[t],
            tops[t],
            of_tops[t],
            x[t],
        )


def probabilities_of(evidence: Evidence) -> NDArray[np.float64]:
    """Probability of the token that follows, by the model and each source, (T, S + 1).

    -1 marks a source that proposed nothing.
    """
    columns = [np.exp(evidence.model.log_probability, dtype=np.float64)]
    for each in evidence.sources.values():
        proposed = 1 - each.rest.astype(np.float64)
        is_there = each.top >= 0
        share = np.divide(each.probability, proposed, out=np.zeros(len(proposed)), where=is_there)
        columns.append(np.where(is_there, share, -1))
    return np.stack(columns, 1)


def fit_gate(x: Floats, probabilities: NDArray[np.float64]) -> Gate:
    """The gate under which the tokens that follow are most likely.

    ``x`` (T, F) and ``probabilities`` (T, S + 1) are from the functions above.
    """
    num_rows, num_columns = probabilities.shape[1], x.shape[1] + 1
    parameters = np.zeros((num_rows, num_columns))
    mean, square = np.zeros((2, num_rows, num_columns))
    generator = np.random.Generator(np.random.PCG64(0))
    with_bias = np.concatenate([x, np.ones((len(x), 1), np.float32)], 1)
    num_steps = _EPOCHS * -(-len(x) // _BATCH_TOKENS)
    step = 0
    for _ in range(_EPOCHS):
        order = generator.permutation(len(x))
        for begin in range(0, len(x), _BATCH_TOKENS):
            rows = order[begin : begin + _BATCH_TOKENS]
            gradient = _gradient(with_bias[rows], probabilities[rows], parameters)
            step += 1
            mean += 0.1 * (gradient - mean)
            square += 0.01 * (gradient**2 - square)
            corrected = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
            parameters -= _RATE * (1 - (step - 1) / num_steps) * corrected
    return Gate(parameters[:, :-1].astype(np.float32), parameters[:, -1].astype(np.float32))


def _gradient(
    x: Floats, probabilities: NDArray[np.float64], parameters: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Gradient of the mean negative log-likelihood with respect to ``parameters``."""
    scores = np.where(probabilities >= 0, x @ parameters.T, -np.inf)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    posterior = shares * np.maximum(probabilities, 0)
    posterior /= posterior.sum(axis=1, keepdims=True)
    gradient: NDArray[np.float64] = (shares - posterior).T @ x / len(x)
    return gradient


class Mixed(NamedTuple):
    """The mixture at each of T positions."""

    probability: NDArray[np.float64]
    """(T,): of the token that follows."""
    shares: NDArray[np.float64]
    """(T, S + 1): weights of the model and the sources."""
    given: NDArray[np.float64]
    """(T, S + 1): the part of the probability that each of them gave."""


def mix_evidence(
    evidence: Evidence,
    gates: Mapping[str, Gate],
    names: Sequence[str],
    *,
    vocab_size: int | None = None,
) -> Mixed:
    """The mixture of the model and the sources ``names``, the document first.

    With ``vocab_size``, the mixture of the sources with a uniform model.
    """
    part = evidence.only(names)
    if vocab_size is not None:
        part = part.without_model(vocab_size)
    gate = gates[gate_name(names, with_model=vocab_size is None)]
    probabilities = probabilities_of(part)
    shares = gate_shares(gate_features(part), probabilities, gate)
    given = shares * np.maximum(probabilities, 0)
    return Mixed(given.sum(axis=1), shares, given)


def gate_shares(x: Floats, probabilities: NDArray[np.float64], gate: Gate) -> NDArray[np.float64]:
    """The weights (T, S + 1) of the model and the sources under a gate.

    The probability of each token is the sum of weights times ``probabilities``.
    """
    shares = np.empty(probabilities.shape)
    _share_all(x, np.where(probabilities[:, 1:] >= 0, 0.0, 1.0), gate.weight, gate.bias, shares)
    return shares


@_kernel
def _share_all(x: Any, rests: Any, weight: Any, bias: Any, shares: Any) -> None:
    for t in range(len(x)):
        shares_of(x[t], rests[t], weight, bias, shares[t])
