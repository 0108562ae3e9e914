"""Many people who type at once: how long they wait, from 1 to 64 of them.

::

    python -m benchmarks.serving.load runs/demo --files 3rd/party/package --seconds 10

Each person types about five keys per second, sixty words per minute, and waits for the answer where
an editor asks. Prints one row per number of people: answers, refused requests, milliseconds until
the full ghost text, and the fewest answers that one person got. ``--plot FILE`` draws the rows.
"""

import argparse
import random
import threading
import time
from pathlib import Path

from benchmarks.serving.typists import Client, keystrokes, python_files, quantile, served

_KEYS_PER_SECOND = 5.0
CROWDS = (1, 2, 4, 8, 16, 32, 64)


class Typist(threading.Thread):
    """One person."""

    def __init__(self, url: str, texts: list[str], number: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self._client = Client(url)
        self._texts, self._number, self._seconds = texts, number, seconds
        self.latencies: list[float] = []
        self.num_refused = 0

    def run(self) -> None:
        """Type until the time is over."""
        generator = random.Random(self._number)
        end = time.monotonic() + self._seconds
        time.sleep(generator.random() / _KEYS_PER_SECOND)
        for prefix, suffix, asks in keystrokes(self._texts, self._number):
            if time.monotonic() > end:
                return
            taken = 0.0
            if asks:
                taken, status, _ = self._client.infill(prefix, suffix, self._number)
                if status == 200:
                    self.latencies.append(taken)
                else:
                    self.num_refused += 1
            time.sleep(max(0.0, generator.expovariate(_KEYS_PER_SECOND) - taken))


def main() -> None:
    """Measure each number of people in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", help="run folder or model folder")
    parser.add_argument("--files", type=Path, required=True, help="folder with Python files")
    parser.add_argument("--seconds", type=float, default=10.0, help="per row (%(default)s)")
    parser.add_argument("--memory", default="auto", help="default: %(default)s")
    parser.add_argument("--plot", type=Path, help="SVG file")
    options = parser.parse_args()
    texts = python_files(options.files, 0)
    rows = []
    with served(options.model, "--memory", options.memory) as url:
        for people in CROWDS:
            crowd = [Typist(url, texts, number, options.seconds) for number in range(people)]
            for typist in crowd:
                typist.start()
            for typist in crowd:
                typist.join()
            latencies = [each for typist in crowd for each in typist.latencies]
            refused = sum(typist.num_refused for typist in crowd)
            fewest = min(len(typist.latencies) for typist in crowd)
            p50, p95 = (1000 * quantile(latencies, share) for share in (0.5, 0.95))
            rows.append((people, p50, p95))
            print(
                f"{people:3} people   {len(latencies):5} answers   {refused:3} refused   "
                f"p50 {p50:7.1f} ms   p95 {p95:7.1f} ms   fewest answers to one {fewest}"
            )
    if options.plot:
        _draw(rows, options.plot)


def _draw(rows: list[tuple[int, float, float]], path: Path) -> None:
    from matplotlib import pyplot

    people = [row[0] for row in rows]
    for column, name in ((1, "p50"), (2, "p95")):
        pyplot.plot(people, [row[column] for row in rows], marker="o", label=name)
    pyplot.xscale("log", base=2)
    pyplot.xticks(people, map(str, people))
    pyplot.xlabel("people typing")
    pyplot.ylabel("ms until the full ghost text")
    pyplot.legend()
    pyplot.savefig(path)


if __name__ == "__main__":
    main()
