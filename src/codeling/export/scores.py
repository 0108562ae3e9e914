"""The measured scores of a run's model: from ``evaluation.json`` and ``evaluation/``.

A score of other weights does not count.
"""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeling.quantity import quantity

RESULTS = "evaluation/*/evaluation.json"
_READ_ERRORS = (
    OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
"""Errors that a missing or damaged result file causes."""
_SAMPLING = {"temperature": "temperature", "top_p": "top-p", "top_k": "top-k"}
"""Sampling setting -> its name in a card."""
_TYPING = "typing"
"""The suite that replays typing: it measures suggestions, with and without the memory."""


@dataclass(frozen=True)
class MeasuredScore:
    """One score with its interval."""

    suite: str
    name: str
    value: float
    interval: tuple[float, float] | None
    """95 %; None for a single problem."""
    data: str
    """The data that it was measured on."""
    of_weights: bool = True
    """Whether the weights alone were measured, without a memory or the rules of suggestions."""

    def __post_init__(self) -> None:
        """Check the types. :raises ValueError: a name is not text, or a number not finite."""
        texts, numbers = (self.suite, self.name), (self.value, *(self.interval or ()))
        if not all(isinstance(each, str) for each in texts):
            raise ValueError(f"a name is not text: {texts}")
        if not all(isinstance(each, int | float) and math.isfinite(each) for each in numbers):
            raise ValueError(f"a number is not finite: {numbers}")

    def as_text(self) -> tuple[str, str]:
        """Value and interval: bits with three digits, shares in percent."""
        show = _bits if self.name.startswith("bits") else _percent
        interval = f"{show(self.interval[0])} to {show(self.interval[1])}" if self.interval else ""
        return show(self.value), interval


def measured_scores(run_folder: Path, weights_sha256: str) -> list[MeasuredScore]:
    """The scores in ``run_folder`` of the model with these weights. A damaged file has none."""
    found: list[MeasuredScore] = []
    with suppress(*_READ_ERRORS):
        values = json.loads((run_folder / "evaluation.json").read_bytes())
        if values["model_sha256"] == weights_sha256:
            found += _of_the_run(values)
    for path in sorted(run_folder.glob(RESULTS)):
        with suppress(*_READ_ERRORS):
            values = json.loads(path.read_bytes())
            if values["model"]["weights_sha256"] == weights_sha256:
                found += _of_a_suite(values)
    return found


def _of_a_suite(values: Mapping[str, Any]) -> list[MeasuredScore]:
    problems = quantity(values["num_problems"], "problem")
    data = ", ".join([str(values["data"]["name"]), problems, *_sampling(values["settings"])])
    return [
        MeasuredScore(
            suite=suite_label(values),
            name=score["name"],
            value=score["value"],
            interval=_pair(score["interval_95"]),
            data=data,
            of_weights=values["suite"] != _TYPING and not _has_memory(values),
        )
        for score in values["scores"]
    ]


def _sampling(settings: Mapping[str, Any]) -> list[str]:
    """Settings that distinguish results on the same data; none for greedy decoding in fp32."""
    num_samples, precision = settings.get("n", 1), settings.get("precision", "float32")
    shown = [f"{name} {settings[key]:g}" for key, name in _SAMPLING.items() if settings.get(key)]
    shown += [f"{quantity(num_samples, 'sample')} each"] if num_samples > 1 else []
    return shown + ([precision] if precision != "float32" else [])


def suite_label(result: Mapping[str, Any]) -> str:
    """The suite of an ``evaluation.json``, followed by ", memory" if all its scores include it."""
    suite: str = result["suite"]
    return f"{suite}, memory" if suite != _TYPING and _has_memory(result) else suite


def _has_memory(result: Mapping[str, Any]) -> bool:
    return "memory" in result["settings"]


def _of_the_run(values: dict[str, Any]) -> list[MeasuredScore]:
    bits, rate = values["bits_per_byte"], values["parse_rate"]
    found = [
        MeasuredScore(
            suite="test split",
            name="bits per byte",
            value=bits["value"],
            interval=_pair(bits["interval_95"]),
            data=f"{quantity(bits['num_bytes'], 'byte')} of "
            f"{quantity(bits['num_repositories'], 'held-out repository')}",
        )
    ]
    memory = values.get("memory") or {"rows": []}
    found += [
        MeasuredScore(
            suite="test split",
            name=f"bits per byte with the memory ({row['name']})",
            value=row["bits_per_byte"],
            interval=_pair(row["interval_95"]),
            data=f"{quantity(memory['num_bytes'], 'byte')} of held-out repositories",
            of_weights=False,
        )
        for row in memory["rows"]
        if row["has_model"] and len(row["sources"]) > 1
    ]
    if rate:
        found.append(
            MeasuredScore(
                suite="test split",
                name="function bodies that parse and hold code",
                value=rate["value"],
                interval=_pair(rate["interval_95"]),
                data=f"{rate['num_completions']:,} held-out functions",
            )
        )
    return found


def _pair(interval: list[float] | None) -> tuple[float, float] | None:
    return (interval[0], interval[1]) if interval else None


def _bits(value: float) -> str:
    return f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
