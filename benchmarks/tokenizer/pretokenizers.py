"""Tokenizers that are set side by side: ours, what others train, and one nuance at a time.

A kind of tokenizer (:class:`Kind`) is a cut, how many entries its recipe has, and how they are
learned. This module must not know what is trained with them.
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

from benchmarks.runs import Bench
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
from codeling.tokenizer.train import train as learn

FIRST = "ours"
SMALLER = (40_000, 32_768, 24_576, 16_384, 12_288, 8_192, 4_096, 2_048, 1_024, 512)
"""Tried in turn where a corpus gives fewer entries than a recipe asks for."""
WHOLE = sorted(
    name
    for name in {*keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
    if name.isalpha() and (name.islower() or keyword.iskeyword(name))
)
"""Keywords and builtins: a vocabulary of few entries has not all of them."""
_OFTEN = 20_000
"""How often each of them is read in addition, which puts its merges before all others."""


@dataclass(frozen=True)
class Kind:
    """One way to come to a tokenizer."""

    cut: pre_tokenizers.PreTokenizer
    entries: int | None = None
    """Of its recipe; None for our rule."""
    is_unigram: bool = False
    """A unigram language model (Kudo 2018) instead of byte-pair encoding."""
    dropout: float = 0.0
    """Share of merges left out when the train split is encoded (Provilkov et al. 2020)."""
    document_bytes: int | None = None
    """So much of a document counts; None for what the recipe says."""
    words: tuple[str, ...] = ()
    """Entries whatever the corpus has, both with a blank before them and without."""


def changed(**parts: str) -> Kind:
    """``python`` with some of its alternatives replaced; ``first`` goes before all of them."""
    parts_of_python = {
        "first": "", "indentation": INDENTATION, "word": WORD, "number": NUMBER,
        "operator": OPERATOR, "newlines": NEWLINES, "blanks": BLANKS,
    }  # fmt: skip
    expression = "|".join(each for each in (parts_of_python | parts).values() if each)
    return Kind(pre_tokenizer_of(expression))


def peers() -> dict[str, Kind]:
    """What others train."""
    single_digits = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    return {
        "CodeParrot": Kind(pre_tokenizer_of(TIKTOKEN_CUTS["gpt2"]), 32_768),
        "course": Kind(pre_tokenizer_of(TIKTOKEN_CUTS["gpt2"]), 50_000),
        "StarCoder": Kind(single_digits, 49_152),
        "cl100k's cut": Kind(pre_tokenizer_of(TIKTOKEN_CUTS["cl100k_base"]), 32_768),
    }


def explored() -> dict[str, Kind]:
    """Variants of ``python``, each with one nuance of the language cut in another way."""
    signs = r"[^\s\p{L}\p{N}]"
    python_operators = (
        r" ?(?:\*\*=?|//=?|->|:=|<<=?|>>=?|[-+*/%@&|^=!<>]=|\.\.\.|\"\"\"|'''|" + signs + ")"
    )
    camel_case = r" ?(?:\p{Lu}?[\p{Ll}\p{Lo}\p{Lm}]+|\p{Lu}+(?!\p{Ll})|\p{L})"
    return {
        "line ends with the signs before": changed(operator=OPERATOR + r"[\r\n]*"),
        "line end with indentation": changed(newlines=r"\s*[\r\n]+[ \t]*"),
        "signs, line end, indentation": changed(operator=OPERATOR + r"(?:[\r\n]+[ \t]*)?"),
        "last blank to the word": changed(indentation="", newlines=""),
        "indentation by four": changed(indentation=r" {4}|[ \t]{2,}?(?= {4}|[^ \t])|\t"),
        "words without blank": changed(word=r"\p{L}+"),
        "words across blanks": changed(word=r" ?\p{L}+(?: \p{L}+)*"),
        "three words and signs": changed(first=r" ?[^\s]+(?: [^\s]+){0,2}"),
        "sign with the word": changed(word=r"[^\r\n\p{L}\p{N}]?\p{L}+"),
        "identifiers whole": changed(word=r" ?[\p{L}_]+"),
        "camelCase": changed(word=camel_case),
        "dunders whole": changed(first=r" ?__\p{L}+(?:_\p{L}+)*__"),
        "dot with the name": changed(word=r"[ .]?\p{L}+"),
        "signs single": changed(operator=rf" ?{signs}"),
        "signs and digits single, camelCase": changed(
            operator=rf" ?{signs}", number=r"\p{N}", word=camel_case
        ),
        "Python's operators": changed(operator=python_operators),
        "digits single": changed(number=r"\p{N}"),
        "numbers whole": changed(number=r"0[xXbBoO][0-9a-fA-F_]+|\p{N}[\p{N}_]*"),
        "string prefixes": changed(first=r" ?[rbfuRBFU]{1,2}(?:\"\"\"|'''|[\"'])"),
        "comment markers": changed(first=r" *#+[!:]? ?|\"\"\"|'''"),
    }


def learned_otherwise() -> dict[str, Kind]:
    """Our cut, and its entries learned in another way."""
    cut = pre_tokenizer_named("gpt2")
    return {
        "Unigram": Kind(cut, is_unigram=True),
        "BPE-dropout": Kind(cut, dropout=0.1),
        "all of a document counts": Kind(cut, document_bytes=1 << 40),
        "keywords whole": Kind(cut, words=tuple(WHOLE)),
    }


@cache
def kinds() -> dict[str, Kind]:
    """All of them by name."""
    ours = {FIRST: Kind(pre_tokenizer_named("gpt2")), "python": Kind(pre_tokenizer_named("python"))}
    return {**ours, **explored(), **learned_otherwise(), **peers()}


def tokenizer_of(name: str, wanted: int, recipe: Recipe, bench: Bench) -> Tokenizer:
    """Learned once; where the corpus gives fewer entries, the largest of a few smaller sizes."""
    for size in (wanted, *(each for each in SMALLER if each < wanted)):
        path = bench.out / "tokenizers" / f"{name} {size}" / "tokenizer.json"
        if path.exists():
            return Tokenizer.load(path)
        try:
            made = _learned(kinds()[name], size, recipe, bench)
        except TokenizerError as error:
            print(f"{name}: {error}")
            continue
        made.save(path)
        return made
    raise SystemExit(f"{name}: the corpus is too small for any vocabulary")


def _learned(kind: Kind, size: int, recipe: Recipe, bench: Bench) -> Tokenizer:
    settings = recipe.tokenizer.model_copy(update={"vocab_size": size})
    if kind.document_bytes:
        settings = settings.model_copy(update={"max_document_bytes": kind.document_bytes})
    texts: Iterator[str] = bench.texts("train")
    if kind.is_unigram:
        return _unigram(kind, texts, size, settings.max_document_bytes)
    report = json.loads((bench.run / "corpus" / "report.json").read_bytes())
    total = report["splits"]["train"]["bytes"]
    if kind.words:
        line = "".join(f"{word}\n {word}\n" for word in kind.words)
        times = settings.max_document_bytes // len(line)
        texts = chain(texts, (line * times for _ in range(-(-_OFTEN // times))))
    return learn(texts, settings, total_bytes=total, pre_tokenizer=kind.cut)


def _unigram(kind: Kind, texts: Iterator[str], size: int, document_bytes: int) -> Tokenizer:
    core = tokenizers.Tokenizer(Unigram())
    core.pre_tokenizer = kind.cut
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
    """The same entries, but each merge is left out with this probability."""
    described = json.loads(tokenizer.to_json())
    described["model"]["dropout"] = share
    return Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(described)))
