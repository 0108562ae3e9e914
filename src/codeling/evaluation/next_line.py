"""Next-line exact match: a line of a file, predicted from everything above it.

Lines are drawn from all files, each line of code as likely as any other. Decoding is greedy and
ends with the line; trailing white space is not compared. This module must not know where the files
come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from codeling.evaluation.completions import complete_requests
from codeling.evaluation.data.document_sample import LocatedText, shuffled
from codeling.evaluation.syntax import code_lines, parse
from codeling.generation.engine import Engine
from codeling.generation.request import Request, SamplingParams
from codeling.progress import SILENT, Progress

_MAX_NEW_TOKENS = 64
_BATCH_SIZE = 32


@dataclass(frozen=True)
class LinePlace:
    """One line to predict."""

    repository: str
    path: str
    start_line: int
    """From 1."""
    prompt: str
    """The file above the line."""
    text: str
    """The line, without trailing white space."""


def line_places(files: Sequence[LocatedText], num_lines: int, seed: int) -> list[LinePlace]:
    """``num_lines`` lines of code, or all if there are fewer; files that do not parse have none."""
    places = []
    for file in files:
        tree = parse(file.text)
        lines = file.text.split("\n")
        for line in code_lines(lines, tree, first=2) if tree else ():
            above = "".join(f"{each}\n" for each in lines[: line - 1])
            text = lines[line - 1].rstrip()
            places.append(LinePlace(file.repository, file.path, line, above, text))
    return shuffled(places, seed)[:num_lines]


def exact_matches(
    engine: Engine, places: Sequence[LinePlace], progress: Progress = SILENT
) -> list[bool]:
    """For each place, whether ``engine`` writes the line."""
    params = SamplingParams(max_new_tokens=_MAX_NEW_TOKENS, stop=("\n",))
    found: list[bool] = []
    with progress.task("next line", len(places), "lines") as advance:
        for start in range(0, len(places), _BATCH_SIZE):
            part = places[start : start + _BATCH_SIZE]
            requests = [Request(place.prompt, None, params) for place in part]
            answers = complete_requests(engine, requests, _BATCH_SIZE)
            found += [
                answer.text.rstrip() == place.text
                for answer, place in zip(answers, part, strict=True)
            ]
            advance(len(part))
    return found
