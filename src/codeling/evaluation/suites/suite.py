"""The protocol of a suite, its settings, and the inputs of one measurement.

A suite finds its own data, says which settings its numbers depend on, and measures. Each file of
this folder has one; :mod:`codeling.evaluation.suites.registry` lists them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from codeling.errors import UsageError
from codeling.evaluation.data.contamination import TrainingCorpus
from codeling.evaluation.data.lookup import DataSources, SuiteData
from codeling.evaluation.journal import Journal
from codeling.evaluation.keystrokes.typist import ACCEPT
from codeling.evaluation.sandbox import Job, Limits, Verdict
from codeling.generation.engine import Engine
from codeling.generation.request import MAX_SAMPLES, SamplingParams
from codeling.memory.mixture import MemoryMixture
from codeling.progress import SILENT, Progress


@dataclass(frozen=True)
class SampleSettings:
    """Number of samples per problem, and parameters of drawing them."""

    n: int = 1
    """Samples per problem."""
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    max_new_tokens: int = 512
    seed: int = 0
    batch_size: int = 32
    """Completions decoded together, and the size of a journal group."""

    def params(
        self,
        stop: str | Sequence[str] = (),
        stop_at_block_end: bool = False,
        script_ends: Sequence[str] = (),
    ) -> SamplingParams:
        """With a stop rule; ``max_repeats`` is off, as in published scores."""
        return SamplingParams(
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            max_repeats=0,
            seed=self.seed,
            stop=stop,
            stop_at_block_end=stop_at_block_end,
            script_ends=script_ends,
        )

    @property
    def group_size(self) -> int:
        """Problems whose samples are decoded together."""
        return max(1, self.batch_size // self.n)


def published_sampling(n: int) -> tuple[float, float | None]:
    """Default temperature and top p for ``n`` samples.

    One sample is greedy. More use top p 0.95 and the temperature that Chen et al. 2021 found best
    for the largest k that n samples can estimate: 0.2 for pass@1, 0.8 for pass@100.
    """
    if n == 1:
        return 0.0, None
    return (0.8, 0.95) if n >= 100 else (0.2, 0.95)


@dataclass(frozen=True)
class TypingSettings:
    """Behaviour of the simulated person of the suite ``typing``."""

    accept: str = "word"
    """Part of a suggestion that one keystroke accepts: ``word``, ``line`` or ``whole``."""
    mode: str = "append"
    """``append``: type a file from its beginning. ``insert``: type lines in its middle, with the
    rest of the file after the cursor."""
    clock: float | None = None
    """Milliseconds after which a suggestion comes too late to be shown. None: no limit."""
    ask_after: int = 2
    """Letters of a word after which its end is asked for; 1 is every keystroke within words."""

    def __post_init__(self) -> None:
        """:raises UsageError: a value is unknown or out of range."""
        for name, known in (("accept", ACCEPT), ("mode", ("append", "insert"))):
            if getattr(self, name) not in known:
                raise UsageError(
                    f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}"
                )
        if self.ask_after < 1:
            raise UsageError(f"ask_after must be 1 letter or more, not {self.ask_after}")
        if self.clock is not None and not self.clock > 0:
            raise UsageError(f"clock must be above 0 milliseconds, not {self.clock}")


@dataclass(frozen=True)
class EvaluationSettings:
    """The user's settings; None means the suite's default."""

    n: int = 1
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_new_tokens: int | None = None
    seed: int = 0
    limit: int | None = None
    """Maximum number of problems, functions or prompts."""
    max_bytes: int = 1_000_000
    """Text scored for bits per byte."""
    batch_size: int = 32
    typing: TypingSettings = TypingSettings()
    canaries: Path | None = None
    """Secrets planted in the corpus, for ``memorization``."""

    def __post_init__(self) -> None:
        """:raises UsageError: a value is out of range."""
        if self.n < 1 or self.batch_size < 1 or (self.limit is not None and self.limit < 1):
            raise UsageError(
                "the number of samples, the limit and the batch size must be 1 or more"
            )
        if self.n > MAX_SAMPLES:
            raise UsageError(f"the number of samples must be at most {MAX_SAMPLES:,}")

    def samples(self, max_new_tokens: int) -> SampleSettings:
        """Sample settings; ``max_new_tokens`` is the suite's default.

        If a temperature is given, top p is off unless it is given too.
        """
        temperature, top_p = published_sampling(self.n)
        if self.temperature is not None:
            temperature, top_p = self.temperature, None
        return SampleSettings(
            self.n,
            temperature,
            self.top_p if self.top_p is not None else top_p,
            self.top_k,
            self.max_new_tokens or max_new_tokens,
            self.seed,
            self.batch_size,
        )


@dataclass(frozen=True)
class ProgramRequirements:
    """Packages and limits of a suite's programs."""

    packages: tuple[str, ...] = ()
    """Imported beyond the standard library."""
    limits: Limits = field(default_factory=Limits)

    def raised(self, factor: int) -> "ProgramRequirements":
        """The same packages with ``factor`` times the time and memory."""
        limits = replace(
            self.limits,
            cpu_seconds=factor * self.limits.cpu_seconds,
            wall_seconds=factor * self.limits.wall_seconds,
            memory_bytes=factor * self.limits.memory_bytes,
        )
        return replace(self, limits=limits)


class Judge(Protocol):
    """Runs programs, for example :class:`codeling.evaluation.sandbox.Sandbox`."""

    def judge(self, jobs: Iterable[Job]) -> Iterator[Verdict]:
        """Yield one verdict per job, in order."""
        ...


OpenJudge = Callable[[ProgramRequirements], AbstractContextManager[Judge]]


@dataclass(frozen=True)
class SuiteInputs:
    """Everything that one measurement works with."""

    engine: Engine
    data: SuiteData
    settings: EvaluationSettings
    journal: Journal
    open_judge: OpenJudge
    corpus: TrainingCorpus | None = None
    progress: Progress = SILENT


class Suite(Protocol):
    """One suite."""

    @property
    def name(self) -> str:
        """As the command line spells it."""
        ...

    @property
    def summary(self) -> str:
        """One phrase for people."""
        ...

    @property
    def programs(self) -> ProgramRequirements | None:
        """Requirements of generated programs; None if the suite runs none."""
        ...

    @property
    def reads_any_text(self) -> bool:
        """Whether any file can be its data, whatever the file's name."""
        ...

    def find_data(self, sources: DataSources) -> SuiteData:
        """Find the data. :raises InputError: ``sources`` has none for this suite."""
        ...

    def recorded_settings(self, settings: EvaluationSettings, engine: Engine) -> dict[str, Any]:
        """Every setting that the numbers depend on, as JSON values."""
        ...

    def measure(self, inputs: SuiteInputs) -> dict[str, Any]:
        """Measure: ``num_problems``, ``scores``, ``contamination``, ``problems`` and more.

        :raises CodelingError: the data, the model or the sandbox does not allow it.
        """
        ...


def engine_settings(settings: EvaluationSettings, engine: Engine) -> dict[str, Any]:
    """The part of :meth:`Suite.recorded_settings` that every suite has."""
    recorded: dict[str, Any] = {
        "seed": settings.seed,
        "device": engine.runner.device,
        "precision": engine.runner.precision,
    }
    if isinstance(engine.memory, MemoryMixture):
        recorded["memory"] = engine.memory.settings()
    return recorded


def sampled_settings(
    settings: EvaluationSettings,
    engine: Engine,
    samples: SampleSettings,
    limit: int | None,
    **others: Any,
) -> dict[str, Any]:
    """:meth:`Suite.recorded_settings` of a suite that samples; ``limit`` is its default."""
    return {
        **engine_settings(settings, engine),
        **asdict(samples),
        "limit": settings.limit or limit,
        "limits": None,
        "canaries_sha256": None,
        **others,
    }
