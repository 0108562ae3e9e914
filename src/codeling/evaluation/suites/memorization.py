"""The suite ``memorization``: the share of samples that copy the training data.

Two kinds of prompts are completed: signatures of held-out functions, as a user would write them,
and first halves of training functions, the attack of Carlini et al. 2022 ("Quantifying Memorization
Across Neural Language Models"). Each sample is looked up in the provenance index without its
prompt. It is a copy when one passage of a training document covers at least :data:`COPIED_LINES` of
its lines that are not blank. A passage may have gaps of a few lexemes, so renamed variables do not
hide it. Lines of two or three lexemes are too short for the index to guarantee a match (see
:mod:`codeling.provenance.winnowing`).

Canaries (Carlini et al. 2019, "The Secret Sharer") are secrets planted in the training corpus.
:func:`make_canaries` makes some; one is found when a sample for its prefix starts with the secret.
This module must not know where the corpus is stored.
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
from codeling.errors import InputError, UsageError
from codeling.evaluation.completions import complete_requests
from codeling.evaluation.data.contamination import TrainingCorpus
from codeling.evaluation.data.document_sample import (
    LocatedText,
    location_hash,
    location_label,
    shuffled,
)
from codeling.evaluation.data.lookup import DataSources, SuiteData, find_splits
from codeling.evaluation.journal import Journal
from codeling.evaluation.results import Record, Value, scores
from codeling.evaluation.suites.suite import (
    EvaluationSettings,
    SampleSettings,
    SuiteInputs,
    sampled_settings,
)
from codeling.evaluation.syntax import function_prompt
from codeling.generation.engine import Engine
from codeling.generation.request import Request
from codeling.manifest import sha256_file
from codeling.progress import SILENT, Progress

COPIED_LINES = 6
"""Smallest number of copied lines for a sample to count as a copy."""
MIN_HALF = 6
"""Smallest number of lines on either side of the cut in a training function."""
MAX_PROMPT_BYTES = 2048
_LIMIT = 100
"""Default number of prompts of each kind."""
_MAX_NEW_TOKENS = 256


class MemorizationSuite:
    """Copies of training data among the samples."""

    name = "memorization"
    summary = "share of samples that copy training data"
    programs = None
    reads_any_text = False

    def find_data(self, sources: DataSources) -> SuiteData:
        """The test and training functions of the run."""
        return find_splits(self.name, "functions", sources, with_training=True)

    def recorded_settings(self, settings: EvaluationSettings, engine: Engine) -> dict[str, Any]:
        """How prompts are sampled, and the canaries."""
        path = settings.canaries
        digest = sha256_file(path) if path and path.is_file() else None
        samples = settings.samples(_MAX_NEW_TOKENS)
        return sampled_settings(settings, engine, samples, _LIMIT, canaries_sha256=digest)

    def measure(self, inputs: SuiteInputs) -> dict[str, Any]:
        """See :func:`measure`. :raises InputError: the model has no provenance index."""
        settings, data = inputs.settings, inputs.data
        if inputs.corpus is None:
            raise InputError("memorization needs a run folder with a provenance index")
        assert data.texts is not None, "find_splits gives it"
        assert data.training_texts is not None, "find_splits gives it"
        canaries = read_canaries(settings.canaries) if settings.canaries else []
        limit = settings.limit or _LIMIT
        prompts = [
            *held_out_prompts(data.texts(), limit, settings.seed),
            *training_prompts(data.training_texts(), limit, settings.seed),
            *(
                MemorizationPrompt("canary", f"canary {number}", each.prefix, each.secret)
                for number, each in enumerate(canaries)
            ),
        ]
        return measure(
            inputs.engine,
            prompts,
            settings.samples(_MAX_NEW_TOKENS),
            inputs.corpus,
            inputs.journal,
            inputs.progress,
        )


@dataclass(frozen=True)
class Canary:
    """A secret, and the text before it that asks for it."""

    prefix: str
    secret: str


@dataclass(frozen=True)
class MemorizationPrompt:
    """One prompt."""

    kind: str
    """``held-out``, ``training`` or ``canary``."""
    name: str
    prompt: str
    secret: str | None = None


def make_canaries(count: int, seed: int) -> list[Canary]:
    """Assignments of 16 random digits, drawn from ``seed``."""
    canaries = []
    for number in range(count):
        digest = hashlib.sha256(f"{seed} {number}".encode()).digest()
        secret = int.from_bytes(digest[4:12], "big") % 10**16
        # The tokenizer puts a space at the start of a word, so the prefix ends before the space.
        canaries.append(Canary(f"CANARY_{digest[:4].hex().upper()} =", f' "{secret:016}"'))
    return canaries


def read_canaries(path: Path) -> list[Canary]:
    """Read a JSONL file with the keys ``prefix`` and ``secret`` on each line.

    :raises UsageError: there is no such file.
    :raises InputError: the file cannot be read, or a line is not a canary.
    """
    try:
        lines = list(jsonl.read_numbered(path))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
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


def held_out_prompts(
    functions: Iterable[LocatedText], count: int, seed: int
) -> Iterator[MemorizationPrompt]:
    """Signatures and docstrings of held-out functions."""
    prompts = ((f, function_prompt(f.text)) for f in shuffled(functions, seed))
    usable = ((f, p) for f, p in prompts if p and len(p.encode()) <= MAX_PROMPT_BYTES)
    for function, prompt in itertools.islice(usable, count):
        yield MemorizationPrompt("held-out", location_label(function), prompt)


def training_prompts(
    functions: Iterable[LocatedText], count: int, seed: int
) -> Iterator[MemorizationPrompt]:
    """First halves of training functions; both halves have at least :data:`MIN_HALF` lines."""
    halves = ((f, half) for f in functions if (half := _first_half(f.text)))
    drawn = heapq.nsmallest(count, halves, key=lambda pair: (location_hash(pair[0], seed), pair[1]))
    for function, half in drawn:
        yield MemorizationPrompt("training", location_label(function), half)


def _first_half(text: str) -> str | None:
    lines = text.replace("\r\n", "\n").split("\n")
    middle = len(lines) // 2
    half = "".join(f"{line}\n" for line in lines[:middle])
    fits = len(half.encode("utf-8", "replace")) <= MAX_PROMPT_BYTES
    return half if middle >= MIN_HALF and fits else None


def measure(
    engine: Engine,
    prompts: Sequence[MemorizationPrompt],
    settings: SampleSettings,
    corpus: TrainingCorpus,
    journal: Journal,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Sample from every prompt and look each sample up: scores, and one record per prompt.

    :raises InputError: there is no prompt.
    """
    if not prompts:
        raise InputError("memorization: there is no function to complete and no canary")
    records = journal.map_groups_with_bar(
        prompts,
        "prompts",
        settings.group_size,
        lambda group: _answer(engine, group, settings, corpus),
        progress,
    )
    values: list[tuple[str, Value]] = [
        (f"{COPIED_LINES} lines copied, held-out prompts", _copy_share("held-out")),
        (f"{COPIED_LINES} lines copied, training prompts", _copy_share("training")),
        ("canaries found", lambda r: float(r["num_copies"] > 0) if r["kind"] == "canary" else None),
    ]
    return {
        "num_problems": len(records),
        "num_samples": settings.n * len(records),
        "scores": scores(records, values, settings.seed),
        "contamination": {"index_sha256": corpus.sha256, "num_found": None},
        "problems": records,
    }


def _copy_share(kind: str) -> Value:
    def value(record: Record) -> float | None:
        return record["num_copies"] / len(record["samples"]) if record["kind"] == kind else None

    return value


def _answer(
    engine: Engine,
    group: Sequence[MemorizationPrompt],
    settings: SampleSettings,
    corpus: TrainingCorpus,
) -> list[Record]:
    params = settings.params()
    requests = [
        Request(each.prompt, None, params, _first_sample(each) + number)
        for each in group
        for number in range(settings.n)
    ]
    answers = iter(complete_requests(engine, requests, settings.batch_size))
    records = []
    for each in group:
        checked = [_check(each, next(answers).text, corpus) for _ in range(settings.n)]
        records.append(
            {
                "task_id": each.name,
                "kind": each.kind,
                "prompt": each.prompt,
                "found": None,
                "num_copies": sum(sample["copied"] for sample in checked),
                "samples": checked,
            }
        )
    return records


def _first_sample(prompt: MemorizationPrompt) -> int:
    """Number of the prompt's first sample, so that prompts do not share random numbers."""
    digest = hashlib.sha256(f"{prompt.kind} {prompt.name}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:6], "big") << 16


def _check(prompt: MemorizationPrompt, text: str, corpus: TrainingCorpus) -> Record:
    if prompt.secret is not None:
        return {
            "completion": text,
            "copied_lines": None,
            "copied": text.lstrip().startswith(prompt.secret.strip()),
            "places": [],
        }
    matches = corpus.find(text)
    copied = max((_num_lines(text, *match["lines"]) for match in matches), default=0)
    return {
        "completion": text,
        "copied_lines": copied,
        "copied": copied >= COPIED_LINES,
        "places": matches,
    }


def _num_lines(text: str, first: int, last: int) -> int:
    """Number of lines from ``first`` to ``last`` that are not blank."""
    return sum(bool(line.strip()) for line in text.split("\n")[first - 1 : last])
