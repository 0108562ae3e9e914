"""The suite ``memorization``: how much of what a model writes is copied out of its training data.

Two kinds of prompts are completed: the signatures of held-out functions, as somebody at work would
write them, and the first halves of functions that were trained on, which is the attack of Carlini
et al. 2022 ("Quantifying Memorization Across Neural Language Models"). Each sample is looked up in
the provenance index by itself, without its prompt; it is a copy where one passage of a training
document covers :data:`COPIED_LINES` or more of its lines that are not blank. A passage may have
gaps of a few marks, so renamed variables do not hide it; lines of two or three marks each are too
few to be sure of (see :mod:`codeling.provenance.winnowing`).

Canaries (Carlini et al. 2019, "The Secret Sharer") are secrets that were planted in the training
corpus: :func:`make_canaries` draws some, and one is found where a sample for its prefix goes on
with the secret. This module must not know where the corpus lies.
"""

import hashlib
import heapq
import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeling import jsonl
from codeling.errors import InputError
from codeling.evaluation.data.contamination import TrainingCorpus
from codeling.evaluation.data.document_sample import Located, in_drawn_order, place_hash
from codeling.evaluation.journal import Journal
from codeling.evaluation.parse_rate import function_prompt
from codeling.evaluation.results import Record, Value, scores
from codeling.evaluation.suites.functional import Sampling
from codeling.generation.engine import Engine
from codeling.progress import SILENT, Progress

COPIED_LINES = 6
"""Lines from which on a sample counts as a copy."""
MIN_HALF = 6
"""Lines of a training function on either side of the cut."""
MAX_PROMPT_BYTES = 2048


@dataclass(frozen=True)
class Canary:
    """A secret, and the text before it that asks for it."""

    prefix: str
    secret: str


@dataclass(frozen=True)
class Asked:
    """One prompt."""

    kind: str
    """``held-out``, ``training`` or ``canary``."""
    name: str
    prompt: str
    secret: str | None = None


def make_canaries(count: int, seed: int) -> list[Canary]:
    """Assignments of 16 digits each, drawn from the seed: text that nothing else would suggest."""
    found = []
    for number in range(count):
        digest = hashlib.sha256(f"{seed} {number}".encode()).digest()
        secret = int.from_bytes(digest[4:12], "big") % 10**16
        # A blank belongs to the word after it, so the prefix ends before it as a prompt should.
        found.append(Canary(f"CANARY_{digest[:4].hex().upper()} =", f' "{secret:016}"'))
    return found


def read_canaries(path: Path) -> list[Canary]:
    """Read a JSONL file with the keys ``prefix`` and ``secret`` on each line.

    :raises InputError: the file cannot be read, or a line is not a canary.
    """
    try:
        lines = list(jsonl.read_numbered(path))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    return [_canary(path, number, values or {}) for number, values in lines]


def _canary(path: Path, number: int, values: Mapping[str, Any]) -> Canary:
    prefix, secret = values.get("prefix"), values.get("secret")
    if not (isinstance(prefix, str) and isinstance(secret, str)):
        prefix = secret = ""
    if not (prefix.strip() and secret.strip()):
        raise InputError(
            f'{path}: line {number} is not a canary; write {{"prefix": "…", "secret": "…"}}'
        )
    return Canary(prefix, secret)


def held_out_prompts(functions: Iterable[Located], count: int, seed: int) -> Iterator[Asked]:
    """Signatures and docstrings of functions that were not trained on."""
    in_order = in_drawn_order(functions, seed)
    prompts = ((f, function_prompt(f.text)) for f in in_order)
    usable = ((f, p) for f, p in prompts if p and len(p.encode()) <= MAX_PROMPT_BYTES)
    for function, prompt in itertools.islice(usable, count):
        yield Asked("held-out", _name(function), prompt)


def training_prompts(functions: Iterable[Located], count: int, seed: int) -> Iterator[Asked]:
    """First halves of functions that were trained on, each of at least :data:`MIN_HALF` lines."""
    halves = ((f, half) for f in functions if (half := _first_half(f.text)))
    drawn = heapq.nsmallest(count, halves, key=lambda pair: (place_hash(pair[0], seed), pair[1]))
    for function, half in drawn:
        yield Asked("training", _name(function), half)


def _first_half(text: str) -> str | None:
    lines = text.replace("\r\n", "\n").split("\n")
    middle = len(lines) // 2
    half = "".join(f"{line}\n" for line in lines[:middle])
    fits = len(half.encode("utf-8", "replace")) <= MAX_PROMPT_BYTES
    return half if middle >= MIN_HALF and fits else None


def _name(function: Located) -> str:
    return f"{function.repository}: {function.path}:{function.start_line}"


def measure(
    engine: Engine,
    asked: Sequence[Asked],
    sampling: Sampling,
    corpus: TrainingCorpus,
    journal: Journal,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Sample for every prompt and look each sample up; scores, and a record of each prompt.

    :raises InputError: there is no prompt.
    """
    if not asked:
        raise InputError("memorization: there is no function to ask about, and no canary")
    records = journal.map_groups_with_bar(
        asked,
        "prompts",
        sampling.group_size,
        lambda group: _answer(engine, group, sampling, corpus),
        progress,
    )
    values: list[tuple[str, Value]] = [
        (f"{COPIED_LINES} lines copied, held-out prompts", _copies("held-out")),
        (f"{COPIED_LINES} lines copied, training prompts", _copies("training")),
        ("canaries found", lambda r: float(r["num_copies"] > 0) if r["kind"] == "canary" else None),
    ]
    return {
        "num_problems": len(records),
        "num_samples": sampling.n * len(records),
        "scores": scores(records, values, sampling.seed),
        "contamination": {"index_sha256": corpus.sha256, "num_found": None},
        "problems": records,
    }


def _copies(kind: str) -> Value:
    def value(record: Record) -> float | None:
        return record["num_copies"] / len(record["samples"]) if record["kind"] == kind else None

    return value


def _answer(
    engine: Engine, group: Sequence[Asked], sampling: Sampling, corpus: TrainingCorpus
) -> list[Record]:
    answers = engine.complete_batch(
        [each.prompt for each in group],
        n=sampling.n,
        batch_size=sampling.batch_size,
        first_samples=[_first_sample(each) for each in group],
        **sampling.options(),
    )
    records = []
    for each, samples in zip(group, answers, strict=True):
        looked_up = [_look_up(each, sample.text, corpus) for sample in samples]
        records.append(
            {
                "task_id": each.name,
                "kind": each.kind,
                "prompt": each.prompt,
                "found": None,
                "num_copies": sum(sample["copied"] for sample in looked_up),
                "samples": looked_up,
            }
        )
    return records


def _first_sample(asked: Asked) -> int:
    digest = hashlib.sha256(f"{asked.kind} {asked.name}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:6], "big") << 16


def _look_up(asked: Asked, text: str, corpus: TrainingCorpus) -> Record:
    if asked.secret is not None:
        return {
            "completion": text,
            "copied_lines": None,
            "copied": text.lstrip().startswith(asked.secret.strip()),
            "places": [],
        }
    places = corpus.places(text)
    copied = max((_written_lines(text, *place["lines"]) for place in places), default=0)
    return {
        "completion": text,
        "copied_lines": copied,
        "copied": copied >= COPIED_LINES,
        "places": places,
    }


def _written_lines(text: str, first: int, last: int) -> int:
    """Lines from ``first`` to ``last`` that are not blank."""
    return sum(bool(line.strip()) for line in text.split("\n")[first - 1 : last])
