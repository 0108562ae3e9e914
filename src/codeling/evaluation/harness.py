"""Run suites on a model: find their data, measure, write the results, resume.

Each suite writes one folder, ``evaluation/NAME-IDENTITY/``. The identity is a hash of the suite,
the bytes of model and data, and every setting. So a result is never overwritten by another
measurement, and a finished one is not repeated. ``evaluation.json`` of the run's own evaluation
stage is not touched. This module must not know the command line, nor what a suite measures.
"""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from codeling import hub
from codeling.errors import CodelingError, InputError, SandboxError
from codeling.evaluation.data.contamination import TrainingCorpus
from codeling.evaluation.data.lookup import DataSources, SuiteData
from codeling.evaluation.journal import Journal
from codeling.evaluation.suites.suite import (
    EvaluationSettings,
    OpenJudge,
    ProgramRequirements,
    Suite,
    SuiteInputs,
)
from codeling.generation.engine import Engine
from codeling.manifest import locked, sha256_file, write_json
from codeling.model.folder import resolve, weights_sha256
from codeling.progress import SILENT, Progress
from codeling.run_folder import RunFolder, find_run_folder

RESULTS = "evaluation"
RESULT_NAME = "evaluation.json"
FORMAT = 1
_PACKAGES = ("codeling", "numpy", "pandas", "tokenizers", "torch")


@dataclass(frozen=True)
class EvaluatedModel:
    """A loaded model, and the folder for its results."""

    name: str
    engine: Engine
    folder: Path
    """The Hugging Face folder."""
    run: RunFolder | None
    """The run folder, if the model has one."""
    out: Path
    corpus: TrainingCorpus | None

    @classmethod
    def load(
        cls,
        model: str,
        out: Path | None = None,
        device: str = "auto",
        precision: str = "fp32",
    ) -> "EvaluatedModel":
        """Read a run folder, a Hugging Face folder or ``hf://owner/name``.

        Results go to ``out``. The default is the run folder, or ``evaluations/NAME`` for a model
        without one.

        :raises CodelingError: as :meth:`Engine.load`.
        """
        folder = resolve(model)
        name = model.removeprefix(hub.SCHEME).rstrip("/").rpartition("/")[2] or model
        run = None if model.startswith(hub.SCHEME) else find_run_folder(folder)
        if run:
            name = run.path.resolve().name
        return cls(
            name,
            Engine.load(model, device, precision),
            folder,
            run,
            out or (run.path if run else Path("evaluations") / name),
            TrainingCorpus.load(run) if run else None,
        )

    def digests(self) -> dict[str, str]:
        """Name and SHA-256 of weights and tokenizer."""
        return {
            "name": self.name,
            "weights_sha256": weights_sha256(self.folder),
            "tokenizer_sha256": sha256_file(self.folder / "tokenizer.json"),
        }


@dataclass(frozen=True)
class SuiteResult:
    """The result of one suite."""

    suite: str
    folder: Path
    values: Mapping[str, Any]
    """The contents of ``evaluation.json``."""
    is_new: bool
    """False where an earlier call measured it."""


def evaluate_suites(
    model: EvaluatedModel,
    suites: Sequence[Suite],
    sources: DataSources,
    settings: EvaluationSettings,
    open_judge: OpenJudge,
    progress: Progress = SILENT,
    *,
    skip_missing: bool = False,
) -> Iterator[SuiteResult]:
    """Measure ``suites`` one after the other; each result is written when it is complete.

    The data of all suites is found and the sandbox is tried before the first measurement. With
    ``skip_missing``, a suite is skipped with a note when it has no data, the model does not support
    it, or its packages are not installed. A missing sandbox is always an error.

    :raises CodelingError: as :meth:`Suite.find_data` and :func:`evaluate_suite`.
    """
    any_name = len(suites) == 1 or all(suite.reads_any_text for suite in suites)
    sources = replace(sources, run=model.run, accept_any_name=any_name)
    found: list[tuple[Suite, SuiteData]] = []
    for suite in suites:
        may_skip = skip_missing and suite.name not in sources.by_suite
        with _skip_on(InputError, may_skip, suite, progress):
            found.append((suite, suite.find_data(sources)))
    if any(suite.programs for suite, _ in found):
        with open_judge(ProgramRequirements()):
            pass  # without a sandbox nothing is measured at all
    for suite, data in _with_installed_packages(found, open_judge, skip_missing, progress):
        with _skip_on(InputError, skip_missing, suite, progress):
            yield evaluate_suite(model, suite, data, settings, open_judge, progress)


def _with_installed_packages(
    found: Sequence[tuple[Suite, SuiteData]],
    open_judge: OpenJudge,
    skip_missing: bool,
    progress: Progress,
) -> list[tuple[Suite, SuiteData]]:
    """The suites whose programs can be run: opens each one's sandbox once."""
    if len(found) < 2:
        return list(found)
    usable = []
    for suite, data in found:
        with _skip_on(SandboxError, skip_missing, suite, progress):
            if suite.programs:
                with open_judge(suite.programs):
                    pass
            usable.append((suite, data))
    return usable


@contextmanager
def _skip_on(
    kind: type[CodelingError], may_skip: bool, suite: Suite, progress: Progress
) -> Iterator[None]:
    """Replace an error of type ``kind`` by a note if ``may_skip``."""
    try:
        yield
    except kind as error:
        if not may_skip:
            raise
        progress.note(f"skipped: {str(error).removeprefix(f'{suite.name}: ')} [{suite.name}]")


def evaluate_suite(
    model: EvaluatedModel,
    suite: Suite,
    data: SuiteData,
    settings: EvaluationSettings,
    open_judge: OpenJudge,
    progress: Progress = SILENT,
) -> SuiteResult:
    """Measure one suite, or read the result that the same request wrote before.

    :raises BusyError: another process evaluates into the same folder.
    :raises CodelingError: the data, the model or the sandbox does not allow it.
    """
    request: dict[str, Any] = {
        "suite": suite.name,
        "model": model.digests(),
        "data": {"name": data.name, **data.digest},
        "settings": suite.recorded_settings(settings, model.engine),
        "training_data": model.corpus.sha256 if model.corpus else None,
    }
    identity = _identity(request)
    top = model.out / RESULTS
    folder = top / f"{suite.name}-{identity[:8]}"
    path = folder / RESULT_NAME
    with locked(top):
        if (found := read_result(path)) is not None and found.get("identity") == identity:
            return SuiteResult(suite.name, folder, found, is_new=False)
        journal = Journal(folder / "journal.jsonl", identity)
        if journal.groups:
            progress.note(f"{suite.name}: continues where it was interrupted")
        inputs = SuiteInputs(
            model.engine, data, settings, journal, open_judge, model.corpus, progress
        )
        values = {
            "format": FORMAT,
            "identity": identity,
            **request,
            "machine": _machine(),
            **suite.measure(inputs),
        }
        write_json(path, values)
        for each in (journal.path, journal.path.with_name("references.jsonl")):
            each.unlink(missing_ok=True)
    return SuiteResult(suite.name, folder, json.loads(path.read_bytes()), is_new=True)


def _identity(request: Mapping[str, Any]) -> str:
    """SHA-256 of what decides the numbers: names of model and data do not."""
    relevant = {
        **request,
        "model": {**request["model"], "name": ""},
        "data": request["data"].get("sha256"),
    }
    return hashlib.sha256(json.dumps([FORMAT, relevant], sort_keys=True).encode()).hexdigest()


def _machine() -> dict[str, Any]:
    versions = {}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"python": platform.python_version(), "versions": versions}


def read_result(path: Path) -> dict[str, Any] | None:
    """A finished result; None where there is no readable one."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) and values.get("format") == FORMAT else None


def finished_results(out: Path) -> list[SuiteResult]:
    """Every finished result below ``out``, sorted by folder name."""
    paths = sorted((out / RESULTS).glob(f"*/{RESULT_NAME}"))
    found = [(path, values) for path in paths if (values := read_result(path)) is not None]
    return [SuiteResult(str(v["suite"]), path.parent, v, is_new=False) for path, v in found]
