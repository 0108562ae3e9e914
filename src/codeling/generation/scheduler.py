"""Scheduler: plans which sequence reads which tokens into which cache slot in the next step.

:meth:`Scheduler.schedule` plans one step as a :class:`Batch`: copies of slots, then rows of tokens.
A runner executes it. :meth:`Scheduler.postprocess` records it and takes the picked ids. A sequence
can be added or aborted between any two steps.

Prefix cache. A slot keeps its tokens after its sequence has ended. A new sequence takes over or
copies the slot with the longest common prefix and reads only the rest. When slots run out, the
least recently used one is reassigned. Sequences that share a prompt wait until one of them has read
it.

Window. When the window of a sequence moves (:func:`~codeling.generation.sequence.window_start`),
it is read again as a prefill, into another slot. A long prefill is divided into chunks, so that
sequences that are being decoded take part in every step.

Drafts. A memory may guess the next tokens of a sequence. They are read in one step with its last
token, and kept as far as they are what is picked (speculative decoding, Leviathan et al. 2023). The
fewer sequences run, the longer the drafts: a step of one sequence waits for the weights.

This module must not know torch, numpy or text.
"""

from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field
from typing import NamedTuple

from codeling.generation.sequence import Sequence

MAX_BATCH_TOKENS = 2048
"""Maximum number of prefill tokens that one step reads."""
CPU_BATCH_TOKENS = 256
"""The same on a CPU, which reads no faster with more, while all sequences wait for a step."""

_WORTH_WAITING = 16
"""Minimum number of tokens in a common prefix for a sequence to wait until another has read it."""


class Fork(NamedTuple):
    """Copy the first ``length`` entries of one slot to another."""

    source: int
    target: int
    length: int


class Row(NamedTuple):
    """Tokens to read into a slot from position ``start`` on."""

    slot: int
    start: int
    ids: list[int]
    num_logits: int
    """After how many of the last tokens logits are wanted; 0 while a prompt is being read."""


@dataclass(frozen=True)
class Batch:
    """One step: the forks in order, then the rows."""

    forks: list[Fork] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    sequences: list[Sequence] = field(default_factory=list)
    """The owner of each row."""

    @property
    def picking(self) -> list[Sequence]:
        """The sequences whose next tokens are picked after this step, in the order of the rows."""
        return [
            sequence
            for row, sequence in zip(self.rows, self.sequences, strict=True)
            if row.num_logits
        ]


@dataclass
class _Slot:
    """Contents of a cache slot."""

    ids: list[int] = field(default_factory=list)
    """Tokens read, from position 0 on."""
    left_edge: int = 0
    """Index of the first token in the owner's ids."""
    owner: Sequence | None = None
    last_use: int = 0


class Scheduler:
    """Waiting sequences, running sequences, and the slots that they use."""

    def __init__(
        self, num_slots: int, max_batch_tokens: int = MAX_BATCH_TOKENS, max_drafts: int = 0
    ) -> None:
        """At most ``max_drafts`` drafted tokens are checked in a step."""
        self.waiting: list[Sequence] = []
        self.running: dict[Sequence, int] = {}
        """Sequence to slot, in order of admission."""
        self.num_prompt_tokens = 0
        """Number of tokens in the windows of all sequences, again when a window has moved."""
        self.num_reused_tokens = 0
        """Number of those tokens that were already in a slot."""
        self._slots = [_Slot() for _ in range(num_slots)]
        self._max_batch_tokens = max_batch_tokens
        self._max_drafts = max_drafts
        self._clock = 0

    @property
    def num_slots(self) -> int:
        """Number of slots; the maximum number of sequences that run at the same time."""
        return len(self._slots)

    def grow(self, num_slots: int) -> None:
        """Increase the number of slots to at least ``num_slots``."""
        self._slots += [_Slot() for _ in range(num_slots - len(self._slots))]

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        self.waiting.append(sequence)

    def abort(self, sequence: Sequence) -> None:
        """Remove a sequence in any state. Must not be called during a step."""
        if sequence in self.running:
            self._release(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def reset(self) -> None:
        """Remove all sequences and tokens, after a step that failed."""
        self.waiting, self.running = [], {}
        self._slots = [_Slot() for _ in self._slots]

    def schedule(self) -> Batch:
        """Plan the next step. The batch has no rows if there is nothing to do."""
        self._clock += 1
        batch = Batch()
        self._admit(batch.forks)
        budget = self._max_batch_tokens
        decodes: list[tuple[Row, Sequence]] = []
        unread_prompts: list[tuple[int, int, list[int], Sequence]] = []
        for sequence, number in self.running.items():
            slot = self._slots[number]
            if slot.left_edge != sequence.left_edge:  # every position has changed
                number = self._move(sequence, batch.forks)
                slot = self._slots[number]
            slot.last_use = self._clock
            start = len(slot.ids)
            unread = sequence.ids[slot.left_edge + start :]
            if len(unread) == 1:
                draft = sequence.draft(self._max_drafts // len(self.running))
                row = Row(number, start, unread + draft, 1 + len(draft))
                decodes.append((row, sequence))
            else:
                unread_prompts.append((number, start, unread, sequence))
        prefills: list[tuple[Row, Sequence]] = []
        # A keystroke has few tokens to read. It must not wait for the prefill of a whole file.
        for number, start, unread, sequence in sorted(
            unread_prompts, key=lambda each: len(each[2])
        ):
            if budget <= 0:
                break
            chunk = unread[:budget]
            budget -= len(chunk)
            row = Row(number, start, chunk, int(len(chunk) == len(unread)))
            prefills.append((row, sequence))
        for row, sequence in sorted(decodes, key=lambda pair: pair[0].slot) + prefills:
            batch.rows.append(row)
            batch.sequences.append(sequence)
        return batch

    def postprocess(self, batch: Batch) -> None:
        """Record what the step has read, and release the slots of the sequences that have ended.

        The picked ids have been appended to their sequences. A draft is kept as far as it agrees
        with them; what was read after that is read over.
        """
        for row, sequence in zip(batch.rows, batch.sequences, strict=True):
            slot = self._slots[row.slot]
            first = slot.left_edge + row.start
            taken = common_length(row.ids, sequence.ids[first : first + len(row.ids)])
            slot.ids += row.ids[:taken]
            if sequence.has_ended:
                self._release(sequence)

    def _release(self, sequence: Sequence) -> None:
        self._slots[self.running.pop(sequence)].owner = None

    def _move(self, sequence: Sequence, forks: list[Fork]) -> int:
        """Assign another slot to a sequence with a moved window; return its number.

        The present slot is kept: the window of the next request may not have moved yet.
        """
        self._slots[self.running[sequence]].owner = None
        source, reused = self._longest_prefix(sequence.window[:-1])
        self._take_slot(sequence, source, reused, forks)
        return self.running[sequence]

    def _admit(self, forks: list[Fork]) -> None:
        """Assign free slots to waiting sequences, in order."""
        still_waiting = []
        num_free = len(self._slots) - len(self.running)
        for sequence in self.waiting:
            if not num_free or not self._assign_slot(sequence, forks):
                still_waiting.append(sequence)
            else:
                num_free -= 1
        self.waiting = still_waiting

    def _assign_slot(self, sequence: Sequence, forks: list[Fork]) -> bool:
        """Admit ``sequence``; False if it should wait for a prefix that another one is reading."""
        wanted = sequence.window[:-1]  # the last token is always read, for its logits
        source, reused = self._longest_prefix(wanted)
        for other, number in self.running.items():
            if not _may_share_more(other.ids, other.left_edge, wanted, reused):
                continue
            upcoming = common_length(other.window, wanted)
            is_ahead = upcoming > max(reused, common_length(self._slots[number].ids, wanted))
            if is_ahead and (upcoming >= _WORTH_WAITING or upcoming == len(wanted)):
                return False
        self._take_slot(sequence, source, reused, forks)
        sequence.num_reused = reused
        return True

    def _longest_prefix(self, wanted: Ordered[int]) -> tuple[int, int]:
        """Number of the slot with the longest common prefix, and its length."""
        best = longest = 0
        for number, slot in enumerate(self._slots):
            if _may_share_more(slot.ids, 0, wanted, longest):
                length = common_length(slot.ids, wanted)
                if length > longest:
                    best, longest = number, length
        return best, longest

    def _take_slot(self, sequence: Sequence, source: int, reused: int, forks: list[Fork]) -> None:
        """Assign the slot ``source`` or a free one with a copy of its first ``reused`` tokens."""
        target = source
        slot = self._slots[source]
        if slot.owner is not None or 2 * reused < len(slot.ids):
            target = self._least_recently_used()
        if target != source and reused:
            forks.append(Fork(source, target, reused))
        assigned = self._slots[target]
        assigned.ids, assigned.left_edge = sequence.window[:reused], sequence.left_edge
        assigned.owner, assigned.last_use = sequence, self._clock
        self.running[sequence] = target
        self.num_prompt_tokens += len(sequence.window)
        self.num_reused_tokens += reused

    def _least_recently_used(self) -> int:
        """Number of the least recently used slot without an owner."""
        free = (number for number, slot in enumerate(self._slots) if slot.owner is None)
        return min(free, key=lambda number: (self._slots[number].last_use, number))


def _may_share_more(ids: Ordered[int], first: int, wanted: Ordered[int], length: int) -> bool:
    """Whether ``ids`` from index ``first`` on may have more than ``length`` tokens of ``wanted``.

    One comparison excludes most slots.
    """
    place = first + length
    return length < len(wanted) and place < len(ids) and ids[place] == wanted[length]


def common_length(first: Ordered[int], second: Ordered[int]) -> int:
    """Length of the longest common prefix."""
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return length
    low = 0  # the first `low` are equal, the first `length` are not
    while length - low > 1:
        middle = (low + length) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            length = middle
    return low
