"""From a query to the engine's requests, and from token ids to what a client reads.

This module must not know sockets or threads.
"""

import codecs
from collections.abc import Iterable
from collections.abc import Sequence as Ordered
from dataclasses import replace
from itertools import accumulate, pairwise

from codeling.generation.logprobs import TokenLogprobs
from codeling.generation.memory import MemorySpan
from codeling.generation.request import SAMPLING_TEMPERATURE, Request, SamplingParams
from codeling.generation.sequence import Sequence
from codeling.generation.suggestions.suggester import Suggester
from codeling.serving.protocol.fields import split_markers
from codeling.serving.protocol.query import (
    ChoiceDetails,
    Prompt,
    Query,
    RequestError,
    TokenScore,
    expanded,
)
from codeling.serving.suggest import SuggestionPlan, suggest
from codeling.tokenizer.tokenizer import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, Tokenizer

_MARKERS = (FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE)


def plans(
    query: Query, suggester: Suggester, max_new_tokens: int, first_sample: int = 0
) -> list[SuggestionPlan]:
    """The requests to the engine for ``query``, in the order of its choices.

    ``max_new_tokens`` is the server's limit. ``first_sample`` is the number of equal queries in
    progress, which get the samples before.

    :raises RequestError: an id is not one of the tokenizer's.
    """
    if query.max_new_tokens > max_new_tokens:
        query = replace(query, max_new_tokens=max_new_tokens)
    tokenizer = suggester.engine.tokenizer
    return [
        _plan(query, _as_text(prompt, tokenizer), suggester, first_sample + sample)
        for prompt, sample in expanded(query.prompts, query.n)
    ]


def _plan(query: Query, prompt: Prompt, suggester: Suggester, sample: int) -> SuggestionPlan:
    temperature = query.temperature
    if temperature is None:
        temperature = SAMPLING_TEMPERATURE if sample else 0.0
    params = SamplingParams(
        temperature=temperature,
        top_k=query.top_k,
        top_p=query.top_p,
        seed=query.seed or 0,
        max_new_tokens=max(1, query.max_new_tokens),
        stop=query.stop,
        record_sources=query.with_details,
    )
    asked = Request(prompt.text, None, params, sample, query.num_logprobs, query.files)
    if prompt.suffix is None:
        return SuggestionPlan(asked)
    return suggest(suggester, prompt.text, prompt.suffix, asked)


def _as_text(prompt: Prompt, tokenizer: Tokenizer) -> Prompt:
    """A prompt of ids as a text: the last document of them.

    Infilling tokens mark prefix and suffix. Bytes that are not UTF-8 become U+FFFD.
    """
    if prompt.ids is None:
        return prompt
    check_ids(prompt.ids, tokenizer)
    names = {tokenizer.find_special(name): name for name in _MARKERS}
    text, part = "", list[int]()
    for each in prompt.ids:
        if each == tokenizer.end_of_text:
            text, part = "", []
        elif each in names:
            text, part = text + tokenizer.decode(part) + names[each], []
        else:
            part.append(each)
    return split_markers(text + tokenizer.decode(part))


def check_ids(ids: Iterable[int], tokenizer: Tokenizer, field: str = "prompt") -> None:
    """:raises RequestError: an id in ``field`` of a body is not one of the tokenizer's."""
    unknown = next((each for each in ids if each >= tokenizer.vocab_size), None)
    if unknown is not None:
        raise RequestError(
            400, f"{field}: id {unknown} is not one of the model's {tokenizer.vocab_size:,} tokens"
        )


def ids_to_score(prompt: Prompt, tokenizer: Tokenizer) -> tuple[list[int], int]:
    """Ids of ``prompt`` for its log-probabilities, and how many of them precede its text.

    A text is read after ``<|endoftext|>``, as in training; ids are read as they are.
    """
    if prompt.ids is not None:
        check_ids(prompt.ids, tokenizer)
        return list(prompt.ids), 0
    return [tokenizer.end_of_text, *tokenizer.encode(prompt.text)], 1


def token_scores(
    scores: Ordered[TokenLogprobs | int], tokenizer: Tokenizer, offset: int
) -> tuple[TokenScore, ...]:
    """Tokens with their log-probabilities as text; an id alone has none.

    ``offset`` is the index of the first token's text in prompt and completion.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    found = []
    for each in scores:
        if isinstance(each, int):
            found.append(TokenScore(each, token_name(tokenizer, each), None, (), offset))
        else:
            top = tuple((token_name(tokenizer, i), logprob) for i, logprob in each.top)
            name = token_name(tokenizer, each.id)
            found.append(TokenScore(each.id, name, each.logprob, top, offset))
        offset += len(decoder.decode(tokenizer.token_bytes[found[-1].id]))
    return tuple(found)


def shown_tokens(
    sequence: Sequence, text: str, tokenizer: Tokenizer
) -> tuple[tuple[int, ...], list[TokenLogprobs | int]]:
    """The tokens of a suggestion that its ``text`` reaches into, and their log-probabilities.

    A token without a log-probability is given by its id: those of a word of the open file, and the
    first one of a branch if it is not among the most likely that were asked for.
    """
    origin = _origin(sequence, text)
    if origin is None:
        ids = tuple(tokenizer.encode(text))
        return ids, [*ids]
    new = origin.ids[origin.num_prompt :]
    ends = accumulate(len(tokenizer.token_bytes[each]) for each in new)
    size = sequence.num_healed + len(text.encode()) if text else 0
    ids = tuple(each for each, end in zip(new, [0, *ends], strict=False) if end < size)
    scores: list[TokenLogprobs | int] = [*origin.logprobs]
    if origin is not sequence and sequence.logprobs:  # its first token was not picked by itself
        top = sequence.logprobs[0].top
        logprob = dict(top).get(new[0])
        scores = [new[0] if logprob is None else TokenLogprobs(new[0], logprob, top), *scores]
    return ids, scores[: len(ids)]


def _origin(sequence: Sequence, text: str) -> Sequence | None:
    """The sequence or its branch that wrote ``text``."""
    found = (sequence, *sequence.branches)
    return next((each for each in found if each.output.text.startswith(text)), None)


def details_of(sequence: Sequence, plan: SuggestionPlan) -> ChoiceDetails:
    """The proposers of an ended sequence, and the part of it that is shown."""
    shown = plan.suggestion(sequence) if plan.suggestion else None
    origin = _origin(sequence, shown.text if shown else "") or sequence
    products = [1.0, *origin.probabilities]
    memory = origin.memory
    copied: Ordered[MemorySpan] = ()
    if shown is None or shown.proposer == "model":
        copied = memory.spans() if memory else ()
    return ChoiceDetails(
        None if shown is None else shown.proposer,
        None if shown is None else shown.probability,
        len(sequence.healed.decode(errors="ignore")),
        tuple(after / before if before else 0.0 for before, after in pairwise(products)),
        tuple(memory.token_shares()) if memory else (),
        tuple(copied),
    )


def token_name(tokenizer: Tokenizer, token: int) -> str:
    """Text of a token. A part of a character is written as OpenAI does: ``bytes:\\xe2``."""
    data = tokenizer.token_bytes[token] if token < tokenizer.vocab_size else b""
    if not data:
        return tokenizer.name_of(token) or f"<{token}>"
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
