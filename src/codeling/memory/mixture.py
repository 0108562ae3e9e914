"""The memory as the engine uses it: the model's distribution mixed with the sources' proposals.

A sequence has a :class:`DocumentMemory` of its own, and the files that came with its request; the
project's and the corpus's memory are shared. Documents of recent sequences are kept, so that a
prompt that continues an earlier one is not read again. This module must not know engines, networks
or files.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from codeling.memory.chain_kernels import LONGEST
from codeling.memory.chains import Tokens
from codeling.memory.document import DocumentMemory, document_predictor
from codeling.memory.gating.gate import Gate, mix
from codeling.memory.gating.parameters import Parameters, gate_name
from codeling.memory.sent_files import LongestContext, SentFiles
from codeling.memory.source import Ids, LocatedSource, Proposal, ProposalSource
from codeling.memory.spans import Origin, SeenSpan, SpanRecorder

_NUM_RECENT = 64
"""Number of documents kept for prompts that continue them: one for each of this many users."""


class MemoryMixture:
    """Mixes the model with the document, and with other sources if there are any."""

    def __init__(
        self,
        parameters: Parameters,
        token_bytes: Sequence[bytes],
        *,
        corpus: ProposalSource | None = None,
        project: LocatedSource | None = None,
        sent_files: SentFiles | None = None,
        with_model: bool = True,
    ) -> None:
        """``token_bytes`` are those of each id. Without ``sent_files``, files that come with a
        request are ignored.

        Without ``with_model``, the model is uniform
        (:class:`codeling.generation.runners.uniform.UniformRunner`).
        """
        self.parameters = parameters
        self.corpus = corpus
        self.project = project
        self.sent_files = sent_files
        found = {"corpus": corpus, "project": project}
        self.sources = {name: each for name, each in found.items() if each is not None}
        self.names = "document", *self.sources
        self.gate = parameters.gates[gate_name(self.names, with_model=with_model)]
        with_files = [name for name in self.names if name != "project"] + ["project"]
        self._gate_with_files = parameters.gates.get(gate_name(with_files, with_model=with_model))
        self.with_model = with_model
        self.token_bytes = token_bytes
        self.line_feeds = np.array([each.count(b"\n") for each in token_bytes])
        """(V,): number of line feeds in each token."""
        self._predictor = document_predictor(parameters.trust["document"], len(token_bytes))
        self._recent: list[DocumentMemory] = []

    def read(self, files: Sequence[tuple[str, str]]) -> LocatedSource | None:
        """What :meth:`open` takes for paths and texts. Any thread may call this."""
        if not files or self.sent_files is None or self._gate_with_files is None:
            return None
        return self.sent_files.read(files)

    def open(
        self,
        before: Sequence[int],
        after: Sequence[int] = (),
        *,
        record: bool = False,
        files: LocatedSource | None = None,
    ) -> "MixtureState":
        """The memory of a sequence that continues ``before``, which begins with ``<|endoftext|>``.

        ``after`` is the text after the gap that is being filled. It counts as seen before the
        document. With ``record``, :meth:`MixtureState.spans` gives the places that tokens came
        from. ``files`` count as files of the project, for this sequence.
        """
        if self.project is not None:
            self.project.refresh()
        sources, gate = self.sources, self.gate
        if files is not None and self._gate_with_files is not None:
            both = files if self.project is None else LongestContext(files, self.project)
            sources, gate = {**sources, "project": both}, self._gate_with_files
        document = self._read(np.array([*after, *before], np.int32))
        return MixtureState(self, document.fork(), len(after), record, sources, gate)

    def copy(self) -> "MemoryMixture":
        """A mixture of the same sources, for another thread."""
        return MemoryMixture(
            self.parameters,
            self.token_bytes,
            corpus=self.corpus,
            project=self.project,
            sent_files=self.sent_files,
            with_model=self.with_model,
        )

    def settings(self) -> dict[str, Any]:
        """The settings that identify the memory beside the model and the texts."""
        digest = hashlib.sha256(self.parameters.to_bytes()).hexdigest()
        return {"sources": list(self.names), "parameters_sha256": digest}

    def _read(self, ids: Tokens) -> DocumentMemory:
        """A document with the tokens ``ids``; one of the recent ones if it starts alike."""
        least = max(1, (len(ids) + 1) // 2)
        best, longest = None, least - 1
        for recent in self._recent:
            if len(recent) >= least <= len(ids) and recent.ids[least - 1] == ids[least - 1]:
                length = _common_length(ids, recent.ids)
                if length > longest:
                    best, longest = recent, length
        if best is not None:
            self._recent.remove(best)
            document = best
            document.forget(len(document) - longest)
        else:
            document = DocumentMemory(self._predictor)
        document.observe(ids[len(document) :])
        self._recent = [document, *self._recent][:_NUM_RECENT]
        return document


class MixtureState:
    """The memory as one sequence sees it."""

    def __init__(
        self,
        mixture: MemoryMixture,
        document: DocumentMemory,
        num_after: int,
        record: bool,
        sources: Mapping[str, ProposalSource],
        gate: Gate,
    ) -> None:
        self._mixture = mixture
        self._sources = sources
        self._gate = gate
        self._document = document
        self._num_after = num_after
        self._num_before = len(document) - num_after
        self._recorder = SpanRecorder(mixture.token_bytes) if record else None
        self._mixed: NDArray[np.float32] | None = None
        self._token_shares: list[dict[str, float]] = []
        self.proposals: list[Proposal] = []
        """The proposals of each source for the last mixture."""
        self.shares: NDArray[np.float64] = np.zeros(0)
        """(S + 1,): weights of the model and the sources in the last mixture."""

    def mix(self, logits: NDArray[np.float32]) -> None:
        """Replace the model's logits (V,) by the mixture's log-probabilities."""
        latest = self._latest()
        self.proposals = [self._document.propose()]
        self.proposals += [source.propose(latest) for source in self._sources.values()]
        position = len(self._document) - self._num_after
        self.shares = mix(logits, position, self.proposals, self._gate)
        self._mixed = logits.copy() if self._recorder else None

    def observe(self, token: int) -> None:
        """Add a token."""
        if self._recorder:
            given = self._given(token)
            source = max(given, key=given.__getitem__)
            self._recorder.record(token, self._origins(token, source), given[source])
            self._token_shares.append(given)
        self._document.observe([token])

    def draft(self, most: int) -> list[int]:
        """A guess of the next tokens, at most ``most``."""
        return self._document.draft(most)

    def spans(self) -> tuple[SeenSpan, ...]:
        """Places where runs of the added tokens were seen, if they are recorded."""
        return self._recorder.spans() if self._recorder else ()

    def token_shares(self) -> Sequence[Mapping[str, float]]:
        """Shares of each added token's probability, if :meth:`MemoryMixture.open` records them.

        Keys are ``model``, ``document`` and the other sources; the values of a token sum to 1.
        """
        return self._token_shares

    def _latest(self) -> Ids:
        """The last tokens of the document, as many as a source can use."""
        return self._document.ids[self._num_after :][-LONGEST:].astype(np.int64)

    def _given(self, token: int) -> dict[str, float]:
        """The share of the probability of ``token`` that the model and each source gave."""
        if self._mixed is None:
            return {"model": 1.0}
        total = float(np.exp(self._mixed[token], dtype=np.float64))
        given = {
            name: float(share * each.probabilities[each.ids == token].sum() / (1 - each.rest))
            for name, share, each in zip(
                ("document", *self._sources), self.shares[1:], self.proposals, strict=True
            )
            if share > 0
        }
        given["model"] = max(0.0, total - sum(given.values()))
        whole = sum(given.values()) or 1.0
        return {name: value / whole for name, value in given.items()}

    def _origins(self, token: int, source: str) -> list[Origin]:
        """Places of ``token`` in ``source``, which gave it most; none for model and corpus."""
        if source == "document":
            return [self._in_document(place) for place in self._document.places(token)]
        if source == "project":
            project = cast("LocatedSource", self._sources[source])
            return [Origin(source, *place) for place in project.places(self._latest(), token)]
        return []

    def _in_document(self, place: int) -> Origin:
        """The origin of a position of the document; text after the gap follows the prompt."""
        first = self._num_after
        before = self._document.ids[first : first + self._num_before]
        if place < first:
            passed = np.concatenate([before, self._document.ids[:place]])
        else:
            passed = self._document.ids[first:place]
        return Origin("document", None, place, 1 + int(self._mixture.line_feeds[passed].sum()))


def _common_length(first: Tokens, second: Tokens) -> int:
    """Length of the longest common prefix."""
    length = min(len(first), len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length
