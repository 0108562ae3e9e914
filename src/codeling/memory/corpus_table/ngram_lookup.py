"""Looks n-grams up in a corpus table, compiled by numba: the loops over a trie's nodes.

Arguments of the kernels, for a table of order N: ``unigrams`` (V,); ``ids``, ``weights``: tuples
of arrays for the orders 2 to N; ``children``, ``seen``: for the orders 1 to N - 1; ``decode``
(65536,): the weight of each code. ``nodes`` (N,): the node of the context of each length, or -1;
the entry of length 0 is not used. ``scratch``: ``nodes``, ``mass`` (V,), which is 0 before and
after, and ``proposed`` (V,). This module must not know files.
"""

from typing import Any

import numpy as np

from codeling.arrays.native import kernel

_kernel = kernel(__file__)


@_kernel
def _find(ids: Any, begin: int, end: int, wanted: int) -> int:
    """Position of ``wanted`` in the ascending ``ids[begin:end]``, or -1."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if ids[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < end and ids[low] == wanted else -1


@_kernel
def _find_contexts(history: Any, ids: Any, children: Any, nodes: Any) -> None:
    """Fill ``nodes`` for the contexts that end ``history``, of at most N - 1 tokens."""
    longest = len(history)
    for length in range(1, longest + 1):
        node = np.int64(history[longest - length])
        for depth in range(1, length):
            wanted = history[longest - length + depth]
            begin, end = children[depth - 1][node], children[depth - 1][node + 1]
            node = _find(ids[depth - 1], np.int64(begin), np.int64(end), wanted)
            if node < 0:
                break
        if node >= 0 and children[length - 1][node] == children[length - 1][node + 1]:
            node = -1
        nodes[length] = node


@_kernel
def _collect(
    nodes: Any,
    unigrams: Any,
    ids: Any,
    weights: Any,
    children: Any,
    decode: Any,
    mass: Any,
    proposed: Any,
) -> Any:
    """Collect what follows the contexts: (number of tokens, probability of all others).

    The tokens are written to ``proposed`` (V,), and their probabilities to ``mass`` (V,), which is
    zero elsewhere.
    """
    number, share = 0, 1.0
    for length in range(len(nodes) - 1, 0, -1):
        node = nodes[length]
        if node < 0:
            continue
        begin, end = children[length - 1][node], children[length - 1][node + 1]
        total = 0.0
        for place in range(begin, end):
            weight = decode[weights[length - 1][place]]
            if weight == 0.0:
                continue
            total += weight
            token = ids[length - 1][place]
            if mass[token] == 0.0:
                proposed[number] = token
                number += 1
            mass[token] += share * weight
        share *= 1.0 - total
    common = 0.0
    for i in range(number):
        token = proposed[i]
        mass[token] += share * unigrams[token]
        common += unigrams[token]
    return number, share * max(0.0, 1.0 - common)


@_kernel
def propose(
    history: Any,
    unigrams: Any,
    ids: Any,
    weights: Any,
    children: Any,
    decode: Any,
    scratch: Any,
    probabilities: Any,
) -> Any:
    """The proposals after ``history``, of at most N - 1 tokens.

    The K tokens are written to ``proposed``, and their probabilities to ``probabilities`` (V,).
    Returns K, the probability of all others, and the length and the node of the longest context.
    """
    nodes, mass, proposed = scratch
    nodes[:] = -1
    _find_contexts(history, ids, children, nodes)
    number, rest = _collect(nodes, unigrams, ids, weights, children, decode, mass, proposed)
    for i in range(number):
        probabilities[i] = mass[proposed[i]]
        mass[proposed[i]] = 0.0
    longest = len(ids)
    while longest > 0 and nodes[longest] < 0:
        longest -= 1
    return number, rest, longest, nodes[longest]


@_kernel
def score(
    history: Any,
    unigrams: Any,
    ids: Any,
    weights: Any,
    children: Any,
    seen: Any,
    decode: Any,
    decode_seen: Any,
    scratch: Any,
    floats: Any,
    counts: Any,
    top: Any,
) -> None:
    """Propose at each of T positions of a document and compare with the token that follows.

    ``history`` (N - 2 + T + 1,) has N - 2 boundaries before the document. ``floats`` (3, T) takes
    the probability of the token that follows, of all that are not proposed, and of the token
    proposed first; ``counts`` (3, T) the length of the longest context, the number of times it was
    seen and of its continuations; ``top`` (T,) the token proposed first.
    """
    order = len(ids) + 1
    nodes, mass, proposed = scratch
    nodes[:] = -1
    for t in range(len(top)):
        _find_contexts(history[t : t + order - 1], ids, children, nodes)
        number, rest = _collect(nodes, unigrams, ids, weights, children, decode, mass, proposed)
        floats[0, t] = mass[history[t + order - 1]]
        floats[1, t] = rest
        floats[2, t], top[t] = 0.0, -1
        for i in range(number):
            token = proposed[i]
            value = np.float32(mass[token])
            if value > floats[2, t] or (value == floats[2, t] and token < top[t]):
                floats[2, t], top[t] = value, token
            mass[token] = 0.0
        longest = order - 1
        while longest > 0 and nodes[longest] < 0:
            longest -= 1
        counts[0, t] = min(longest, t + 1)
        counts[1, t] = counts[2, t] = 0
        if longest > 0:
            node = nodes[longest]
            counts[1, t] = decode_seen[seen[longest - 1][node]]
            begin, end = children[longest - 1][node], children[longest - 1][node + 1]
            counts[2, t] = end - begin
