"""Time of the rules of suggestions, without model and memory, in files of 5,000 lines.

At random cursors of long files of the standard library, or several joined to that length: the
place, the words of the file, and what is shown of the file's own next lines. Both the text before
the cursor and the text after it are given.

    python -m benchmarks.generation.suggestion_rules
"""

import argparse
import json
import statistics
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from codeling.generation.suggestions.choice import Candidate, choose
from codeling.generation.suggestions.place import find_place
from codeling.generation.suggestions.suggester import word_candidates

NUM_LINES, NUM_FILES, PER_FILE = 5_000, 5, 400
PROPOSED = 200
"""Characters of a proposal."""


def files() -> Iterator[str]:
    """Texts of 5,000 lines."""
    lines: list[str] = []
    num_files = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        lines += path.read_text("utf-8").splitlines()
        if len(lines) >= NUM_LINES and num_files < NUM_FILES:
            yield "\n".join(lines[:NUM_LINES]) + "\n"
            lines, num_files = [], num_files + 1


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    milliseconds = []
    for text in files():
        for cursor in random.integers(len(text) // 2, len(text), PER_FILE).tolist():
            prefix, suffix = text[:cursor], text[text.find("\n", cursor) :]
            begin = time.perf_counter()
            place = find_place(prefix, suffix)
            if place is None:
                continue
            proposed = text[cursor : cursor + PROPOSED]
            candidate = Candidate(proposed, ((len(proposed), 0.5),))
            words = word_candidates(place, prefix, suffix)
            choose([candidate, *words], prefix, suffix, place, 0.1)
            milliseconds.append(1000 * (time.perf_counter() - begin))
    result = {
        "requests": len(milliseconds),
        "p50_ms": statistics.median(milliseconds),
        "p95_ms": statistics.quantiles(milliseconds, n=20)[-1],
        "max_ms": max(milliseconds),
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:10} {value:.2f}" if isinstance(value, float) else f"{name:10} {value:,}")


if __name__ == "__main__":
    main()
