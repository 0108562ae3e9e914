"""Chains of positions by the hash of the tokens before them, compiled by numba.

For each of a few context lengths (``orders``), positions whose preceding ``order`` tokens have the
same hash form a chain, newest first. ``heads`` (O, H) holds the newest position of each bucket,
``links`` (O, N) the previous position in the bucket, -1 at its end. H is a power of two. Positions
found are verified by comparing tokens, so a collision of hashes only costs time.

Chains have two levels: positions below ``num_base`` have their links in ``base_links``, which
several documents may share, later ones in ``links``. This module must not know texts or files.
"""

from typing import Any

import numpy as np

from codeling.arrays.native import kernel

LONGEST = 24
"""Maximum length of a context in tokens; longer ones are not distinguished."""

DEAD = -1
"""Token that replaces removed text. It follows no context and is never proposed."""

COUNT_GROUPS = np.array([1, 2, 4, 8, 32])
"""Upper bounds of the groups of C, the number of tokens seen after a context."""
DISTINCT_GROUPS = np.array([1, 2, 4])
"""Upper bounds of the groups of D, the number of distinct tokens seen after a context."""

TRUST_SHAPE = LONGEST, len(COUNT_GROUPS) + 1, len(DISTINCT_GROUPS) + 1
"""Shape of the parameters of :func:`blend`: context length, group of C, group of D."""

_BASE = 0xD1342543DE82EF95
POWERS = np.array([pow(_BASE, n, 1 << 64) for n in range(LONGEST + 1)], np.uint64)
"""Powers of the base of the rolling hash, modulo 2⁶⁴."""

_MAX_MISSES = 8
"""A chain is left after this many times ``limit`` positions, however few of them match."""

_kernel = kernel(__file__)


@_kernel
def bucket(prefix: Any, position: Any, order: Any, num_buckets: Any) -> Any:
    """Bucket of the ``order`` tokens before ``position``.

    ``prefix[i]`` is the polynomial over the first i tokens.
    """
    value = prefix[position] - prefix[position - order] * POWERS[order]
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    return np.int64(value & np.uint64(num_buckets - 1))


@_kernel
def extend(ids: Any, prefix: Any, first: Any, last: Any) -> None:
    """Continue ``prefix`` over ``ids[first:last]``."""
    for position in range(first, last):
        prefix[position + 1] = prefix[position] * POWERS[1] + np.uint64(ids[position] + 1)


@_kernel
def link(
    prefix: Any, first: Any, last: Any, orders: Any, heads: Any, links: Any, num_base: Any
) -> None:
    """Add the positions ``first`` to ``last`` - 1 to their chains."""
    for number in range(len(orders)):
        order = orders[number]
        for position in range(first, last):
            if order > position:
                links[number, position - num_base] = -1
                continue
            place = bucket(prefix, position, order, heads.shape[1])
            links[number, position - num_base] = heads[number, place]
            heads[number, place] = position


@_kernel
def unlink(
    prefix: Any, first: Any, last: Any, orders: Any, heads: Any, links: Any, num_base: Any
) -> None:
    """Remove the newest positions, ``first`` to ``last`` - 1, from their chains."""
    for number in range(len(orders)):
        order = orders[number]
        for position in range(last - 1, max(first, order) - 1, -1):
            place = bucket(prefix, position, order, heads.shape[1])
            heads[number, place] = links[number, position - num_base]


@_kernel
def find(
    history: Any,
    history_prefix: Any,
    end: Any,
    store: Any,
    limit: Any,
    places: Any,
    lengths: Any,
) -> Any:
    """Positions of a store that follow the same tokens as ``history[:end]`` ends in.

    ``store`` is (ids, orders, heads, links, base_heads, base_links, num_base).

    For each order, the ``limit`` newest positions whose preceding ``order`` tokens match are
    visited. Each visited position is written to ``places`` once, with the number of tokens that
    match before it, at most :data:`LONGEST`, to ``lengths``. Both need O * ``limit`` entries.
    Returns the number of positions.
    """
    ids, orders, heads, links, base_heads, base_links, num_base = store
    found = 0
    longer_order = LONGEST + 1
    for number in range(len(orders) - 1, -1, -1):
        order = orders[number]
        if order > end:
            continue
        num_matching = num_seen = 0
        in_base = False
        position = np.int64(heads[number, bucket(history_prefix, end, order, heads.shape[1])])
        while num_matching < limit and num_seen < _MAX_MISSES * limit:
            if position < 0 and not in_base and num_base > 0:
                in_base = True
                place = bucket(history_prefix, end, order, base_heads.shape[1])
                position = np.int64(base_heads[number, place])
            if position < 0:
                break
            num_seen += 1
            most = min(LONGEST, min(end, position))
            length = 0
            while length < most and ids[position - 1 - length] == history[end - 1 - length]:
                length += 1
            if length >= order and ids[position] >= 0:
                num_matching += 1
                if length < longer_order:  # otherwise it was visited at a longer order
                    places[found] = position
                    lengths[found] = length
                    found += 1
            if in_base:
                position = np.int64(base_links[number, position])
            else:
                position = np.int64(links[number, position - num_base])
        longer_order = order
    return found


@_kernel
def continuation(
    history: Any,
    history_prefix: Any,
    end: Any,
    store: Any,
    limit: Any,
    shortest: Any,
    scratch: Any,
    out: Any,
) -> Any:
    """The tokens after the longest match of at least ``shortest`` tokens; the newest of equals.

    The store is the history's own. The tokens are written to ``out``; returns their number.
    """
    places, lengths = scratch
    found = find(history, history_prefix, end, store, limit, places, lengths)
    best, longest = end, shortest - 1
    for index in range(found):
        is_newer = lengths[index] == longest and best < end and places[index] > best
        if lengths[index] > longest or is_newer:
            best, longest = places[index], lengths[index]
    number = 0
    while number < len(out) and best + number < end and history[best + number] >= 0:
        out[number] = history[best + number]
        number += 1
    return number


@_kernel
def group(number: Any, upper_bounds: Any) -> Any:
    """Index of the first bound that ``number`` does not exceed; the number of bounds if none."""
    index = 0
    while index < len(upper_bounds) and number > upper_bounds[index]:
        index += 1
    return index


@_kernel
def blend(
    ids: Any,
    places: Any,
    lengths: Any,
    found: Any,
    trust: Any,
    longest_of: Any,
    by_length: Any,
    out: Any,
) -> Any:
    """Interpolate the counts after contexts of all lengths (Jelinek and Mercer 1980).

    ``p_n = t c_n / C_n + (1 - t) p_{n-1}``: C_n tokens were seen after the last n, D_n of them
    distinct, c_n equal to this one. The trust t depends on n and on the groups of C_n and D_n:
    ``trust`` (LONGEST, groups of C, groups of D). A token that ``p_0`` proposes gets nothing: its
    share is the rest. ``out`` is (tokens, probabilities), and gets the distinct tokens.
    ``longest_of`` (V,), 0 before and after, and ``by_length``, integers (2, LONGEST + 2) and floats
    (LONGEST + 2,), are scratch.

    Returns the number of tokens, the rest, the longest n, and C_n and D_n there.
    """
    tokens, probabilities = out
    integers, weights = by_length
    integers[:], weights[:] = 0, 0
    counts, distinct = integers[0], integers[1]
    num_tokens = 0
    for index in range(found):
        token, length = ids[places[index]], lengths[index]
        counts[length] += 1
        before = longest_of[token]
        if before == 0:
            tokens[num_tokens] = token
            num_tokens += 1
        if length > before:
            for shorter in range(before + 1, length + 1):
                distinct[shorter] += 1
            longest_of[token] = length
    longest = 0
    for length in range(LONGEST, 0, -1):
        counts[length] += counts[length + 1]
        if longest == 0 and counts[length] > 0:
            longest = length
    # p is a sum over positions: each has t / C_n times the longer ones' 1 - t, summed over n.
    rest = 1.0
    for length in range(longest, 0, -1):
        row = trust[length - 1, group(counts[length], COUNT_GROUPS)]
        share = rest * row[group(distinct[length], DISTINCT_GROUPS)]
        weights[length] = share / counts[length]
        rest -= share
    for length in range(1, LONGEST + 1):
        weights[length] += weights[length - 1]
    for index in range(num_tokens):
        longest_of[tokens[index]] = index
        probabilities[index] = 0
    for index in range(found):
        probabilities[longest_of[ids[places[index]]]] += weights[lengths[index]]
    for index in range(num_tokens):
        longest_of[tokens[index]] = 0
    return num_tokens, rest, longest, counts[longest] if longest else 0, distinct[longest]


@_kernel
def propose(
    history: Any,
    history_prefix: Any,
    end: Any,
    store: Any,
    limit: Any,
    trust: Any,
    longest_of: Any,
    scratch: Any,
    out: Any,
) -> Any:
    """:func:`find`, then :func:`blend`. ``scratch`` is (places, lengths), and by length."""
    (places, lengths), by_length = scratch
    found = find(history, history_prefix, end, store, limit, places, lengths)
    return blend(store[0], places, lengths, found, trust, longest_of, by_length, out)


@_kernel
def best(tokens: Any, probabilities: Any, num_tokens: Any, actual: Any) -> Any:
    """The most likely token (the lowest of equals; -1: none), its probability, and ``actual``'s."""
    top, highest, of_actual = -1, 0.0, 0.0
    for index in range(num_tokens):
        token, probability = tokens[index], probabilities[index]
        if token == actual:
            of_actual = probability
        if probability > highest or (probability == highest and token < top):
            top, highest = token, probability
    return top, highest, of_actual


@_kernel
def score(
    history: Any,
    history_prefix: Any,
    store: Any,
    is_own: Any,
    limit: Any,
    trust: Any,
    longest_of: Any,
    scratch: Any,
    out: Any,
    floats: Any,
    counts: Any,
    tops: Any,
) -> None:
    """Propose at each position of ``history`` (T + 1,), and compare with what follows.

    With ``is_own``, ``store`` holds the same ids, and its chains grow along with the history. The
    results are ``floats`` (3, T): probability, rest, top probability; ``counts`` (3, T): order,
    C and D; and ``tops`` (T,).
    """
    _, orders, heads, links, _, _, num_base = store
    tokens, probabilities = out
    for end in range(1, len(history)):
        if is_own:
            link(history_prefix, end - 1, end, orders, heads, links, num_base)
        num_tokens, rest, order, num_seen, num_distinct = propose(
            history, history_prefix, end, store, limit, trust, longest_of, scratch, out
        )
        top, highest, of_actual = best(tokens, probabilities, num_tokens, history[end])
        floats[0, end - 1], floats[1, end - 1], floats[2, end - 1] = of_actual, rest, highest
        counts[0, end - 1], counts[1, end - 1] = order, num_seen
        counts[2, end - 1] = num_distinct
        tops[end - 1] = top


@_kernel
def count(
    history: Any,
    history_prefix: Any,
    store: Any,
    is_own: Any,
    limit: Any,
    longest_of: Any,
    scratch: Any,
    counts: Any,
) -> None:
    """The counts that :func:`blend` uses at each position of ``history`` (T + 1,).

    See :func:`score`. ``counts`` (T, LONGEST, 3), zero, gets c of the token that follows, C and D.
    """
    ids, orders, heads, links, _, _, num_base = store
    places, lengths = scratch
    for end in range(1, len(history)):
        if is_own:
            link(history_prefix, end - 1, end, orders, heads, links, num_base)
        of_end = counts[end - 1]
        found = find(history, history_prefix, end, store, limit, places, lengths)
        for index in range(found):
            token, length = ids[places[index]], lengths[index]
            for shorter in range(length):
                of_end[shorter, 1] += 1
                if token == history[end]:
                    of_end[shorter, 0] += 1
                if shorter >= longest_of[token]:
                    of_end[shorter, 2] += 1
            longest_of[token] = max(longest_of[token], length)
        for index in range(found):
            longest_of[ids[places[index]]] = 0
