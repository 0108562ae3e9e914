"""The files of the work folder, one of each kind per partition, and the settings of all tasks.

Every file is written under another name and renamed, and its bytes do not depend on the worker,
so an interrupted task can simply run again. All workers have to see the folder.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import pyarrow as pa

from codeling.corpus import document
from codeling.corpus.decontamination import problem_sets
from codeling.corpus.decontamination.decontaminate import Contamination
from codeling.corpus.dedup import exact, minhash
from codeling.corpus.filters.opt_out import OptOut
from codeling.recipe import CorpusRecipe

Kind = Literal["survey", "chosen", "files", "functions", "extraction"]

SURVEY_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("repository", pa.string()),
        ("path", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("found_bytes", pa.int64()),
        ("num_bytes", pa.int64()),
        ("digest", pa.binary(exact.DIGEST_BYTES)),
        ("python3", pa.bool_()),
        ("copies", pa.int64()),
        ("split", pa.string()),
        ("sketch", pa.binary(minhash.SKETCH_BYTES)),
        ("tokens", pa.int64()),
        ("fingerprints", pa.binary()),
        ("hits", pa.string()),
        ("has_keyword", pa.bool_()),
    ]
)
"""One row per document. Null where it does not apply: ``reason`` (drop reason), ``detail`` (what is
wrong with the input), ``split`` (that its source gives it), ``sketch``, ``tokens`` and
``fingerprints`` (see :mod:`codeling.corpus.dedup.shared_passages`), ``hits`` (benchmark problems
found in it, JSON), ``has_keyword`` (whether a file that was read holds one of the recipe's
keywords, by their rule).
``found_bytes``: size as found; ``num_bytes``: of its text in UTF-8."""

CHOSEN_SCHEMA = pa.schema([("split", pa.int8()), ("copies", pa.int64()), ("python3", pa.bool_())])
"""One row per document: index into :data:`codeling.corpus.document.SPLITS`, or -1 if dropped."""

FILES_SCHEMA = document.FILES_SCHEMA.append(pa.field("split", pa.int8()))
FUNCTIONS_SCHEMA = (
    document.FUNCTIONS_SCHEMA.remove(document.FUNCTIONS_SCHEMA.get_field_index("id"))
    .append(pa.field("split", pa.int8()))
    .append(pa.field("digest", pa.binary(exact.DIGEST_BYTES)))
)
"""Without ``id``, which is known only when the rows of all partitions are put together."""


@dataclass(frozen=True)
class BuildContext:
    """The settings and lists that all tasks of one build share."""

    recipe: CorpusRecipe
    folder: Path
    """Work folder."""
    opt_out: OptOut
    contamination: Contamination | None

    def file(self, kind: Kind, number: int) -> Path:
        """Return the path of a partition's file."""
        return work_file(self.folder, kind, number)


def work_file(folder: Path, kind: str, number: int) -> Path:
    """Return the path of a partition's file: Arrow IPC, but JSON for ``extraction``.

    ``extraction`` is written after ``files`` and ``functions``, so it marks them as complete.
    """
    return folder / f"{kind}-{number:05d}{'.json' if kind == 'extraction' else '.arrow'}"


@lru_cache(maxsize=1)
def load_context(settings: str) -> BuildContext:
    """Load the context from a task's settings: JSON with ``recipe`` and ``folder``."""
    values = json.loads(settings)
    folder = Path(values["folder"])
    problems = problem_sets.load(folder / "problems.json")
    return BuildContext(
        CorpusRecipe.model_validate(values["recipe"]),
        folder,
        OptOut.load(folder / "opt-out.json"),
        Contamination(problems) if problems else None,
    )


def count(counts: dict[str, list[int]], reason: str, num_bytes: int, number: int = 1) -> None:
    """Add to the [number, bytes] of a drop reason."""
    values = counts.setdefault(reason, [0, 0])
    values[0] += number
    values[1] += num_bytes
