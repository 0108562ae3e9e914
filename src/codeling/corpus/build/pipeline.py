"""Builds the corpus from its sources into its folder, and continues after a kill.

Steps: list the input, cut it into partitions, survey each partition (decode, filter, label),
choose with all documents known (copies, split, passages shared with train), extract from the chosen
documents, write the tables.
:mod:`codeling.corpus.build.survey` and :mod:`codeling.corpus.build.extraction` work on one
partition in worker processes; :mod:`codeling.corpus.build.selection` works on all. Same input, same
bytes, however it is cut and wherever it runs.

During a build the corpus folder has a folder ``unfinished`` with the complete results of each
partition, and ``key.json``, a hash of input and recipe. A build that finds it with the same key
continues from it; it is removed when the corpus is complete.
"""

import hashlib
import json
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codeling.corpus import document
from codeling.corpus.build import report, selection
from codeling.corpus.build.assembly import Assembly, Counts
from codeling.corpus.build.executor import Executor
from codeling.corpus.build.hit_rate import HitRate
from codeling.corpus.build.work_folder import work_file
from codeling.corpus.decontamination import problem_sets
from codeling.corpus.filters import rules
from codeling.corpus.filters.opt_out import OptOut
from codeling.corpus.sources.hub_listing import HUB, how_to_copy
from codeling.corpus.sources.listing import Listing, list_input
from codeling.corpus.sources.partitions import Partition
from codeling.errors import CorpusError, storage_errors
from codeling.manifest import prepare_work_folder, write_json
from codeling.progress import Progress
from codeling.quantity import quantity
from codeling.recipe import CorpusRecipe, Folder, Installed, RowSource

WORK_FOLDER = "unfinished"
_FORMAT = 5
"""Format of the work folder; a build does not continue from another one."""
_MAX_ATTEMPTS = 3
"""Number of attempts at a part on a cluster."""


def build(
    recipe: CorpusRecipe, folder: Path, progress: Progress, ray: str | None = None
) -> dict[str, Any]:
    """Build the corpus of ``recipe`` in ``folder`` and return its report.

    Writes ``{train,validation,test}/{files,functions}-NNNNN.parquet``, then ``report.json``;
    those of an earlier build are removed first. ``ray`` is the address of a Ray cluster to run on,
    whose machines all see ``folder``.

    :raises UsageError: a path of the recipe does not exist, or Ray is not installed.
    :raises CorpusError: no document is kept, or the workers stopped.
    :raises StorageError: ``folder`` cannot be written.
    """
    rules.check(recipe)
    with storage_errors(folder), Executor(ray) as executor:
        listing = list_input(recipe, executor)
        if not listing.partitions:
            raise CorpusError(f"no Python in {_names(recipe)}: no .py file found")
        document.clear(folder)
        work = _prepare(recipe, listing, folder)
        try:
            result = _build(recipe, listing, folder, work, executor, progress)
        except CorpusError as error:
            if "://" in str(error) and (on_hub := _hub_addresses(recipe)):
                raise CorpusError(f"{error}, or {how_to_copy(on_hub)}") from error
            raise
    with storage_errors(folder):
        shutil.rmtree(work)
    return result


def _prepare(recipe: CorpusRecipe, listing: Listing, folder: Path) -> Path:
    """Prepare the work folder, keep the results of the same build; return its absolute path."""
    work = (folder / WORK_FOLDER).absolute()
    opt_out = OptOut.read(recipe.opt_out)
    digest = hashlib.sha256(recipe.model_dump_json(exclude={"train_on"}).encode())
    digest.update(json.dumps([sorted(opt_out.repositories), sorted(opt_out.hashes)]).encode())
    paths = recipe.decontamination.problems
    problems = [problem for path in paths for problem in problem_sets.read_problems(path)]
    digest.update(repr(problems).encode())
    digest.update(listing.fingerprint.encode())
    for partition in listing.partitions:
        digest.update(partition.to_json().encode())
    key = {"format": _FORMAT, "sha256": digest.hexdigest()}

    def fill() -> None:
        opt_out.save(work / "opt-out.json")
        problem_sets.save(problems, work / "problems.json")

    with storage_errors(work):
        prepare_work_folder(work, key, fill)
    return work


def _build(
    recipe: CorpusRecipe,
    listing: Listing,
    folder: Path,
    work: Path,
    executor: Executor,
    progress: Progress,
) -> dict[str, Any]:
    settings = json.dumps({"recipe": recipe.model_dump(mode="json"), "folder": str(work)})
    stage = _Stage(executor, settings, work, progress)
    hit_rate = HitRate(recipe)
    for _ in stage.run("survey", "reading Python", listing.partitions, hit_rate):
        pass
    for line in hit_rate.lines():
        progress.note(line)
    records = selection.load(listing.partitions, recipe, work)
    projects = {name: r.project for name, r in listing.repositories.items() if r.project != name}
    decided = selection.decide(records, recipe, projects, work)
    if not records.kept.any():
        raise CorpusError(
            f"no Python in {_names(recipe)} is kept: {quantity(len(records.kept), 'file')} "
            f"dropped ({report.dropped_line(records)})"
        )
    chosen = selection.save(records, decided, work)
    counts = Counts()
    with Assembly(folder, work, counts) as assembly:
        for partition in stage.run("extraction", "extracting functions", chosen):
            summary = work_file(work, "extraction", partition.number).read_bytes()
            assembly.add(partition, json.loads(summary))
    result = report.report(records, decided, recipe, listing.repositories, counts)
    write_json(folder / "report.json", result)
    for line in report.split_lines(result, recipe):
        progress.note(line)
    return result


class _Stage:
    """Runs one task over the partitions that have no result yet, with a progress bar."""

    def __init__(self, executor: Executor, settings: str, work: Path, progress: Progress) -> None:
        self._executor, self._settings, self._work = executor, settings, work
        self._progress = progress

    def run(
        self,
        name: str,
        label: str,
        partitions: Sequence[Partition],
        hit_rate: HitRate | None = None,
    ) -> Iterator[Partition]:
        """Yield the partitions in order, each once its result is in the work folder.

        ``hit_rate`` counts each of them and says what the bar shows.
        """
        done = {p.number for p in partitions if self._file(name, p).exists()}
        to_do = [partition for partition in partitions if partition.number not in done]
        num_bytes = sum(partition.num_bytes for partition in to_do)
        if done:
            parts = quantity(len(partitions), "part")
            self._progress.note(f"{label}: {len(done):,} of {parts} already done")
        answers = self._answers(name, to_do, num_bytes)
        with self._progress.task(label, num_bytes, "bytes") as advance:
            num_documents, start = 0, time.monotonic()
            for partition in partitions:
                if partition.number not in done:
                    answer = self._next(name, partition, answers)
                    num_documents += answer["documents"]
                    rate = num_documents / max(1e-3, time.monotonic() - start)
                    detail = hit_rate.add(answer) if hit_rate else f"{quantity(rate, 'file')}/s"
                    advance(partition.num_bytes, detail)
                elif hit_rate:
                    hit_rate.add_finished(self._file(name, partition))
                yield partition
        assert next(answers, None) is None, "the executor answers every task once"

    def _answers(
        self, name: str, to_do: Sequence[Partition], num_bytes: int
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the answer for each partition; resubmit to a cluster what a lost machine had."""
        tasks = deque(partition.to_json() for partition in to_do)
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            try:
                for answer in self._executor.map(
                    name, list(tasks), self._settings, num_bytes, self._work / "heartbeats"
                ):
                    tasks.popleft()
                    yield json.loads(answer)
                return
            except CorpusError as error:  # noqa: PERF203
                if self._executor.ray is None or attempt == _MAX_ATTEMPTS:
                    raise
                self._progress.note(
                    f"submitting {quantity(len(tasks), 'part')} to the cluster again: {error}"
                )
                self._executor.restart()

    def _next(
        self, name: str, partition: Partition, answers: Iterator[Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        answer = next(answers)
        assert answer["number"] == partition.number, "the executor answers in order"
        if not self._file(name, partition).exists():
            raise CorpusError(
                f"{self._work}: the result of a worker is missing; put the run folder on storage "
                "that every machine of the cluster sees"
            )
        return answer

    def _file(self, name: str, partition: Partition) -> Path:
        return work_file(self._work, name, partition.number)


def _hub_addresses(recipe: CorpusRecipe) -> list[str]:
    tables = (source for source in recipe.sources if isinstance(source, RowSource))
    return [path for source in tables for path in source.paths if path.startswith(HUB)]


def _names(recipe: CorpusRecipe) -> str:
    names = []
    for source in recipe.sources:
        if isinstance(source, Installed):
            names.append("the installed packages")
        else:
            names += [str(source.path)] if isinstance(source, Folder) else source.paths
    return ", ".join(names) or "an empty list of sources"
