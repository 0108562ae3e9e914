"""Suites on a model: find the data, measure, write down; stopped, the same request goes on.

Each suite leaves one folder, ``evaluation/NAME-IDENTITY/``, with ``evaluation.json`` in it; the
identity is made of the suite, the model's and the data's bytes and every setting, so nothing that
was measured in another way is ever written over, and what is there already is not done again. What
a run's own evaluation stage wrote stays as it is. This module must not know the command line.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from codeling.errors import CodelingError, InputError, SandboxError, UsageError
from codeling.evaluation.data.contamination import TrainingCorpus
from codeling.evaluation.data.lookup import Data, find_data
from codeling.evaluation.data.problems import read_problems
from codeling.evaluation.journal import Journal
from codeling.evaluation.suites import bits_per_byte, completion, functional, memorization
from codeling.evaluation.suites.functional import Judge, Sampling
from codeling.evaluation.suites.registry import Suite, published_sampling
from codeling.generation.engine import Engine
from codeling.manifest import locked, sha256_file, write_json
from codeling.model import weights
from codeling.progress import SILENT, Progress

RESULTS = "evaluation"
RESULT_NAME = "evaluation.json"
FORMAT = 1
_PACKAGES = ("codeling", "numpy", "pandas", "tokenizers", "torch")

OpenJudge = Callable[[Suite], AbstractContextManager[Judge]]


@dataclass(frozen=True)
class Settings:
    """How suites measure; None is the suite's own default."""

    n: int = 1
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_new_tokens: int | None = None
    seed: int = 0
    limit: int | None = None
    """At most so many problems, functions or prompts."""
    max_bytes: int = 1_000_000
    """Text scored for bits per byte."""
    batch_size: int = 32
    column: str | None = None
    """Of a table of texts."""
    canaries: Path | None = None
    """What was planted, for ``memorization``."""

    def sampling(self, suite: Suite) -> Sampling:
        """How ``suite`` samples. :raises UsageError: a value is out of range."""
        if self.n < 1 or self.batch_size < 1 or (self.limit is not None and self.limit < 1):
            raise UsageError(
                "the number of samples, the limit and the batch size must be 1 or more"
            )
        temperature, top_p = published_sampling(self.n)
        if self.temperature is not None:
            temperature, top_p = self.temperature, None
        return Sampling(
            self.n,
            temperature,
            self.top_p if self.top_p is not None else top_p,
            self.top_k,
            self.max_new_tokens or suite.max_new_tokens,
            self.seed,
            self.batch_size,
        )


@dataclass(frozen=True)
class Subject:
    """The model that is measured, and where its results go."""

    name: str
    engine: Engine
    folder: Path
    """Its Hugging Face folder."""
    run: Path | None
    """Its run folder, where it has one."""
    out: Path
    corpus: TrainingCorpus | None

    @classmethod
    def load(cls, model: str, out: Path | None = None, device: str = "auto") -> "Subject":
        """Read a run folder, a Hugging Face folder or ``hf://owner/name``.

        Results go to ``out``; by default into the run folder, or for a model without one to
        ``evaluations/`` and its name.

        :raises CodelingError: as :meth:`Engine.load`.
        """
        folder = weights.resolve(model)
        run = next((f for f in (folder.parent,) if (f / "recipe.toml").is_file()), None)
        name = model.removeprefix("hf://").rstrip("/").rpartition("/")[2] or model
        if run is not None and not model.startswith("hf://"):
            name = run.resolve().name
        else:
            run = None
        return cls(
            name,
            Engine.load(model, device),
            folder,
            run,
            out or run or Path("evaluations") / name,
            TrainingCorpus.of(run) if run else None,
        )

    def digests(self) -> dict[str, str]:
        """What identifies the model."""
        files = sorted(self.folder.glob("*.safetensors"))
        listing = "".join(f"{sha256_file(path)}\n" for path in files)
        one = listing.strip() if len(files) == 1 else hashlib.sha256(listing.encode()).hexdigest()
        return {
            "name": self.name,
            "weights_sha256": one,
            "tokenizer_sha256": sha256_file(self.folder / "tokenizer.json"),
        }


@dataclass(frozen=True)
class Done:
    """One suite that has been measured, now or before."""

    suite: str
    folder: Path
    result: Mapping[str, Any]
    is_new: bool


def evaluate(
    subject: Subject,
    suite: Suite,
    data: Data,
    settings: Settings,
    open_judge: OpenJudge,
    progress: Progress = SILENT,
) -> Done:
    """Measure one suite, or read what the same request left before.

    :raises BusyError: another process evaluates into the same folder.
    :raises CodelingError: the data, the model or the sandbox do not allow it.
    """
    sampling = settings.sampling(suite)
    described: dict[str, Any] = {
        "suite": suite.name,
        "model": subject.digests(),
        "data": {"name": data.name, **data.digest},
        "settings": _described(suite, settings, sampling, subject.engine),
        "training_data": subject.corpus.sha256 if subject.corpus else None,
    }
    same = {
        **described,
        "model": {**described["model"], "name": ""},  # a copied model is the same model
        "data": data.digest.get("sha256"),
    }
    identity = hashlib.sha256(json.dumps([FORMAT, same], sort_keys=True).encode()).hexdigest()
    top = subject.out / RESULTS
    folder = top / f"{suite.name}-{identity[:8]}"
    path = folder / RESULT_NAME
    with locked(top):
        if (found := read_result(path)) is not None and found.get("identity") == identity:
            return Done(suite.name, folder, found, is_new=False)
        journal = Journal(folder / "journal.jsonl", identity)
        if journal.groups:
            progress.note(f"{suite.name}: goes on from what was done before")
        measured = _measure(subject, suite, data, settings, sampling, journal, open_judge, progress)
        result = {
            "format": FORMAT,
            "identity": identity,
            **described,
            "machine": _machine(),
            **measured,
        }
        write_json(path, result)
        for each in (journal.path, journal.path.with_name("references.jsonl")):
            each.unlink(missing_ok=True)
    return Done(suite.name, folder, json.loads(path.read_bytes()), is_new=True)


def _measure(
    subject: Subject,
    suite: Suite,
    data: Data,
    settings: Settings,
    sampling: Sampling,
    journal: Journal,
    open_judge: OpenJudge,
    progress: Progress,
) -> dict[str, Any]:
    engine, corpus = subject.engine, subject.corpus
    limit = settings.limit or suite.limit
    if suite.kind == "problems":
        asked = read_problems(data.files)
        for each in asked.left_out:
            progress.note(f"{suite.name}: {each.name} is left out: {each.reason}")
        asked = replace(asked, problems=asked.problems[:limit])
        with open_judge(suite) as judge:
            return functional.measure(engine, asked, sampling, judge, journal, corpus, progress)
    assert data.texts is not None, "other suites read texts"
    if suite.kind == "texts":
        return bits_per_byte.measure(
            engine,
            data.texts(),
            journal,
            max_bytes=settings.max_bytes,
            seed=settings.seed,
            corpus=corpus,
            progress=progress,
        )
    assert limit is not None, "these suites have a limit of their own"
    if suite.kind == "completion":
        return completion.measure(
            engine, data.texts(), sampling, journal, limit=limit, corpus=corpus, progress=progress
        )
    if corpus is None:
        raise InputError("memorization needs a run folder, with its provenance index in it")
    planted = memorization.read_canaries(settings.canaries) if settings.canaries else []
    training = data.training() if data.training else iter(())
    asked_for = [
        *memorization.held_out_prompts(data.texts(), limit, settings.seed),
        *memorization.training_prompts(training, limit, settings.seed),
        *(
            memorization.Asked("canary", f"canary {number}", each.prefix, each.secret)
            for number, each in enumerate(planted)
        ),
    ]
    return memorization.measure(engine, asked_for, sampling, corpus, journal, progress)


def _described(
    suite: Suite, settings: Settings, sampling: Sampling, engine: Engine
) -> dict[str, Any]:
    """Every setting that a suite's numbers depend on."""
    common: dict[str, Any] = {
        "seed": settings.seed,
        "device": str(engine.model.wte.weight.device.type),
        "precision": str(engine.model.compute_dtype).removeprefix("torch."),
    }
    if suite.kind == "texts":
        return {**common, "max_bytes": settings.max_bytes, "precision": "float32"}
    planted = settings.canaries
    return {
        **common,
        **asdict(sampling),
        "limit": settings.limit or suite.limit,
        "limits": asdict(suite.limits) if suite.kind == "problems" else None,
        "canaries_sha256": sha256_file(planted) if planted and planted.is_file() else None,
    }


def _machine() -> dict[str, Any]:
    versions = {}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"python": platform.python_version(), "versions": versions}


def read_result(path: Path) -> dict[str, Any] | None:
    """A finished result, or None where there is none that can be read."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) and values.get("format") == FORMAT else None


def each_suite(
    subject: Subject,
    suites: Sequence[Suite],
    given: Mapping[str, str],
    anywhere: Sequence[str],
    settings: Settings,
    open_judge: OpenJudge,
    progress: Progress = SILENT,
    *,
    skip_missing: bool = False,
) -> Iterator[Done]:
    """Measure several suites, one after the other; each is written down when it ends.

    The data of all is found, and the sandbox tried, before anything is measured. With
    ``skip_missing`` a suite without data, or that the model was not made for, or whose packages
    are not installed, is named and left out; without a sandbox nothing is measured either way.

    :raises CodelingError: as :func:`find_data` and :func:`evaluate`.
    """
    texts_only = all(suite.kind in ("texts", "completion") for suite in suites)
    found: list[tuple[Suite, Data]] = []
    for suite in suites:
        with _skipping(skip_missing and suite.name not in given, suite, progress):
            data = find_data(
                suite,
                given,
                anywhere,
                run=subject.run,
                column=settings.column,
                alone=texts_only or len(suites) == 1,
            )
            found.append((suite, data))
    judged = [suite for suite, _ in found if suite.kind == "problems"]
    if judged:
        with open_judge(replace(judged[0], packages=())):
            pass  # where no program can be run safely, nothing is measured at all
    refused = set()
    for suite in judged if len(found) > 1 else ():
        with _skipping(skip_missing, suite, progress, SandboxError):
            refused.add(suite)
            with open_judge(suite):
                refused.remove(suite)
    found = [(suite, data) for suite, data in found if suite not in refused]
    for suite, data in found:
        with _skipping(skip_missing, suite, progress):
            yield evaluate(subject, suite, data, settings, open_judge, progress)


@contextmanager
def _skipping(
    skip: bool, suite: Suite, progress: Progress, kind: type[CodelingError] = InputError
) -> Iterator[None]:
    """Where something is missing or broken, name it and go on instead of raising."""
    try:
        yield
    except kind as error:
        if not skip:
            raise
        progress.note(f"skipped: {str(error).removeprefix(f'{suite.name}: ')} [{suite.name}]")


def results(out: Path) -> list[Done]:
    """Every finished result below ``out``, in the order of the suites' names."""
    paths = sorted((out / RESULTS).glob(f"*/{RESULT_NAME}"))
    found = [(path, result) for path in paths if (result := read_result(path)) is not None]
    return [Done(str(r["suite"]), path.parent, r, is_new=False) for path, r in found]
