"""Tokenizers to compare: ours, those of peers, and variants of the pretokenizer ``python``.

A specification (:class:`TokenizerSpec`) is a pretokenizer, a vocabulary size, and how the entries
are learned. This module must not know what is trained with them.
"""

import builtins
import json
import keyword
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain

import tokenizers
from tokenizers import pre_tokenizers
from tokenizers.models import Unigram
from tokenizers.trainers import UnigramTrainer

from benchmarks.runs import Comparison
from codeling.errors import TokenizerError
from codeling.recipe import Recipe
from codeling.tokenizer.measure import TIKTOKEN_CUTS
from codeling.tokenizer.pretokenizer import (
    BLANKS,
    INDENTATION,
    NEWLINES,
    NUMBER,
    OPERATOR,
    WORD,
    byte_decoder,
    pre_tokenizer_named,
    pre_tokenizer_of,
)
from codeling.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer
from codeling.tokenizer.train import train

BASELINE = "ours"
SMALLER_SIZES = (40_000, 32_768, 24_576, 16_384, 12_288, 8_192, 4_096, 2_048, 1_024, 512)
"""Vocabulary sizes to try when a corpus is too small for the requested one."""
PYTHON_WORDS = sorted(
    name
    for name in {*keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
    if name.isalpha() and (name.islower() or keyword.iskeyword(name))
)
"""Keywords and builtins. A small vocabulary does not contain all of them."""
_NUM_REPEATS = 20_000
"""Times that each word of a spec is added to the text, so that it is merged first."""


@dataclass(frozen=True)
class TokenizerSpec:
    """How a tokenizer is learned."""

    pre_tokenizer: pre_tokenizers.PreTokenizer
    entries: int | None = None
    """Vocabulary size of its own recipe; None for ours."""
    is_unigram: bool = False
    """A unigram language model (Kudo 2018) instead of byte-pair encoding."""
    dropout: float = 0.0
    """Probability of skipping a merge while the train split is encoded (Provilkov et al. 2020)."""
    document_bytes: int | None = None
    """Maximum bytes of a document that are counted; None: as in the recipe."""
    words: tuple[str, ...] = ()
    """Words that become entries in any corpus, with and without a space before them."""


def variant(**parts: str) -> TokenizerSpec:
    """The pretokenizer ``python`` with some alternatives of its expression replaced.

    ``first`` is put before all others.
    """
    defaults = {
        "first": "", "indentation": INDENTATION, "word": WORD, "number": NUMBER,
        "operator": OPERATOR, "newlines": NEWLINES, "blanks": BLANKS,
    }  # fmt: skip
    expression = "|".join(each for each in (defaults | parts).values() if each)
    return TokenizerSpec(pre_tokenizer_of(expression))


def peers() -> dict[str, TokenizerSpec]:
    """The tokenizers that other projects train."""
    single_digits = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    return {
        "CodeParrot": TokenizerSpec(pre_tokenizer_of(TIKTOKEN_CUTS["gpt2"]), 32_768),
        "course": TokenizerSpec(pre_tokenizer_of(TIKTOKEN_CUTS["gpt2"]), 50_000),
        "StarCoder": TokenizerSpec(single_digits, 49_152),
        "cl100k's pretokenizer": TokenizerSpec(
            pre_tokenizer_of(TIKTOKEN_CUTS["cl100k_base"]), 32_768
        ),
    }


def variants() -> dict[str, TokenizerSpec]:
    """Variants of the pretokenizer ``python`` with one change each."""
    signs = r"[^\s\p{L}\p{N}]"
    python_operators = (
        r" ?(?:\*\*=?|//=?|->|:=|<<=?|>>=?|[-+*/%@&|^=!<>]=|\.\.\.|\"\"\"|'''|" + signs + ")"
    )
    camel_case = r" ?(?:\p{Lu}?[\p{Ll}\p{Lo}\p{Lm}]+|\p{Lu}+(?!\p{Ll})|\p{L})"
    return {
        "newline with the operator before": variant(operator=OPERATOR + r"[\r\n]*"),
        "newline with indentation": variant(newlines=r"\s*[\r\n]+[ \t]*"),
        "operator, newline, indentation": variant(operator=OPERATOR + r"(?:[\r\n]+[ \t]*)?"),
        "last space to the word": variant(indentation="", newlines=""),
        "indentation by four": variant(indentation=r" {4}|[ \t]{2,}?(?= {4}|[^ \t])|\t"),
        "words without space": variant(word=r"\p{L}+"),
        "words across spaces": variant(word=r" ?\p{L}+(?: \p{L}+)*"),
        "up to three words": variant(first=r" ?[^\s]+(?: [^\s]+){0,2}"),
        "operator with the word": variant(word=r"[^\r\n\p{L}\p{N}]?\p{L}+"),
        "identifiers whole": variant(word=r" ?[\p{L}_]+"),
        "camelCase": variant(word=camel_case),
        "dunders whole": variant(first=r" ?__\p{L}+(?:_\p{L}+)*__"),
        "dot with the name": variant(word=r"[ .]?\p{L}+"),
        "single operators": variant(operator=rf" ?{signs}"),
        "single operators and digits, camelCase": variant(
            operator=rf" ?{signs}", number=r"\p{N}", word=camel_case
        ),
        "Python's operators": variant(operator=python_operators),
        "single digits": variant(number=r"\p{N}"),
        "numbers whole": variant(number=r"0[xXbBoO][0-9a-fA-F_]+|\p{N}[\p{N}_]*"),
        "string prefixes": variant(first=r" ?[rbfuRBFU]{1,2}(?:\"\"\"|'''|[\"'])"),
        "comment markers": variant(first=r" *#+[!:]? ?|\"\"\"|'''"),
    }


def other_training() -> dict[str, TokenizerSpec]:
    """Our pretokenizer with entries that are learned in another way."""
    gpt2 = pre_tokenizer_named("gpt2")
    return {
        "Unigram": TokenizerSpec(gpt2, is_unigram=True),
        "BPE-dropout": TokenizerSpec(gpt2, dropout=0.1),
        "whole documents counted": TokenizerSpec(gpt2, document_bytes=1 << 40),
        "keywords whole": TokenizerSpec(gpt2, words=tuple(PYTHON_WORDS)),
    }


@cache
def specs() -> dict[str, TokenizerSpec]:
    """All specifications by name."""
    ours = {
        BASELINE: TokenizerSpec(pre_tokenizer_named("gpt2")),
        "python": TokenizerSpec(pre_tokenizer_named("python")),
    }
    return {**ours, **variants(), **other_training(), **peers()}


def load_or_train(name: str, num_entries: int, recipe: Recipe, comparison: Comparison) -> Tokenizer:
    """The tokenizer of a spec, learned once.

    A corpus that is too small gets a smaller vocabulary.
    """
    for size in (num_entries, *(each for each in SMALLER_SIZES if each < num_entries)):
        path = comparison.out / "tokenizers" / f"{name} {size}" / "tokenizer.json"
        if path.exists():
            return Tokenizer.load(path)
        try:
            tokenizer = _train(specs()[name], size, recipe, comparison)
        except TokenizerError as error:
            print(f"{name}: {error}")
            continue
        tokenizer.save(path)
        return tokenizer
    raise SystemExit(f"{name}: the corpus is too small for any vocabulary")


def _train(spec: TokenizerSpec, size: int, recipe: Recipe, comparison: Comparison) -> Tokenizer:
    settings = recipe.tokenizer.model_copy(update={"vocab_size": size})
    if spec.document_bytes:
        settings = settings.model_copy(update={"max_document_bytes": spec.document_bytes})
    texts: Iterator[str] = comparison.texts("train")
    if spec.is_unigram:
        return _unigram(spec, texts, size, settings.max_document_bytes)
    report = json.loads((comparison.folder / "corpus" / "report.json").read_bytes())
    total = report["splits"]["train"]["bytes"]
    if spec.words:
        line = "".join(f"{word}\n {word}\n" for word in spec.words)
        per_document = settings.max_document_bytes // len(line)
        texts = chain(texts, (line * per_document for _ in range(-(-_NUM_REPEATS // per_document))))
    return train(texts, settings, total_bytes=total, pre_tokenizer=spec.pre_tokenizer)


def _unigram(
    spec: TokenizerSpec, texts: Iterator[str], size: int, document_bytes: int
) -> Tokenizer:
    core = tokenizers.Tokenizer(Unigram())
    core.pre_tokenizer = spec.pre_tokenizer
    core.decoder = byte_decoder()
    trainer = UnigramTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    parts = (text.encode()[:document_bytes].decode(errors="ignore") for text in texts)
    core.train_from_iterator(parts, trainer)
    return Tokenizer(core)


def with_dropout(tokenizer: Tokenizer, share: float) -> Tokenizer:
    """The same entries; each merge is skipped with probability ``share``."""
    values = json.loads(tokenizer.to_json())
    values["model"]["dropout"] = share
    return Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(values)))
