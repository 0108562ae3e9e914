"""Bits per byte with the memory and without it, and the probability's shares by source.

Whole files are scored by the model alone, by its mixtures with the sources of the memory, and by
the sources without a model. Intervals are a bootstrap over repositories. This module must not know
where files come from.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codeling.evaluation.memory_scores import ProjectFile, collect
from codeling.evaluation.metrics.pass_at_k import ratio
from codeling.memory.gating.fitting import Evidence, mix_evidence
from codeling.memory.gating.parameters import Parameters
from codeling.memory.source import ProposalSource
from codeling.model.gpt2 import GPT2
from codeling.progress import SILENT, Progress
from codeling.tokenizer.tokenizer import Tokenizer

POSITIONS = (0, 64, 256, 1024, 4096)
"""Positions in a file are grouped from each of these to the next."""


class MemoryRow(NamedTuple):
    """A combination of model and sources."""

    sources: tuple[str, ...]
    has_model: bool = True

    @property
    def name(self) -> str:
        """For example ``model + document + corpus``."""
        return " + ".join(("model", *self.sources) if self.has_model else self.sources)


def memory_rows(has_corpus: bool, has_project: bool) -> list[MemoryRow]:
    """The model alone, with more and more sources, and the sources alone."""
    corpus, project = ("corpus",) * has_corpus, ("project",) * has_project
    found = [(), ("document",), ("document", *corpus), ("document", *corpus, *project)]
    mixed = dict.fromkeys(found)
    return [
        *(MemoryRow(sources) for sources in mixed),
        *(MemoryRow(sources, has_model=False) for sources in mixed if sources),
    ]


def measure_memory(
    model: GPT2,
    tokenizer: Tokenizer,
    files: Sequence[ProjectFile],
    parameters: Parameters,
    corpus: ProposalSource | None,
    progress: Progress = SILENT,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Score the files that are marked. Each of ``rows`` is a value in bits per byte."""
    vocab_size = tokenizer.vocab_size
    evidence = collect(model, files, parameters, corpus, vocab_size, progress)
    scored = sorted((f for f in files if f.is_scored), key=lambda f: (f.repository, f.path))
    sizes = np.array([len(each) for each in tokenizer.token_bytes])
    num_bytes = [sizes[file.ids[1:]] for file in scored]
    everything = Evidence.concatenate(evidence)
    groups = np.searchsorted(POSITIONS, everything.positions - 1, side="right") - 1
    repositories = np.repeat(
        np.unique([file.repository for file in scored], return_inverse=True)[1],
        [len(each) for each in num_bytes],
    )
    all_bytes = np.concatenate(num_bytes)
    rows = []
    for row in memory_rows(corpus is not None, has_project=True):
        given = _given(everything, parameters, row, vocab_size)
        bits = -np.log2(given.sum(axis=1))
        score = ratio(_sums(bits, repositories), _sums(all_bytes, repositories), seed)
        assert score is not None, "there is a file"
        rows.append(
            {
                "name": row.name,
                "sources": list(row.sources),
                "has_model": row.has_model,
                "bits_per_byte": score.value,
                "interval_95": score.interval_95,
                "by_position": _ratios(_sums(bits, groups), _sums(all_bytes, groups)),
                "shares_by_position": [
                    _ratios(_sums(share, groups), _sums(np.ones(len(groups)), groups))
                    for share in (given / given.sum(axis=1, keepdims=True)).T
                ],
            }
        )
    return {
        "num_bytes": int(all_bytes.sum()),
        "num_tokens": len(all_bytes),
        "num_documents": len(scored),
        "num_repositories": len({file.repository for file in scored}),
        "positions": list(POSITIONS),
        "rows": rows,
    }


def _given(
    evidence: Evidence, parameters: Parameters, row: MemoryRow, vocab_size: int
) -> NDArray[np.float64]:
    """Parts of each token's probability from the model and each source, (T, S + 1)."""
    if not row.sources:
        return np.exp(evidence.model.log_probability, dtype=np.float64)[:, None]
    size = None if row.has_model else vocab_size
    return mix_evidence(evidence, parameters.gates, row.sources, vocab_size=size).given


def _sums(values: NDArray[Any], groups: NDArray[np.int64]) -> list[float]:
    return np.bincount(groups, values).tolist()  # type: ignore[no-any-return]


def _ratios(above: Sequence[float], below: Sequence[float]) -> list[float | None]:
    """Quotients, None for a group without values."""
    return [a / b if b else None for a, b in zip(above, below, strict=True)]
