"""Claim: planted keys and e-mail addresses are redacted, and few strings of real files are.

200 keys of the usual kinds and 200 addresses, drawn from a seed, each planted in a function of
its own; a key counts as redacted when none of it is left. Then files of the Python installed
here: how many strings of each kind are redacted per 10,000 files, and where. Published packages
hold no live keys, so every key found there counts as a mistake; addresses are mostly their
authors' and no mistake, so their number is only stated. Every file that parsed has to parse
afterwards. The rate is beside the floor: finding strings and comments by the same expression.
What is found is never printed.

Run:  python -m benchmarks.corpus.redact [--files 10000]
"""

import argparse
import ast
import random
import sysconfig
import time
import warnings
from collections import Counter
from pathlib import Path

from codeling.corpus.redaction.redact import KINDS, findings, redact
from codeling.python_lexer import literals
from tests.corpus.redaction.labelled import precision_and_recall
from tests.corpus.redaction.planted import emails, key_lines


def parses(text: str) -> bool:
    """Whether ``ast.parse`` takes it."""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def main() -> None:
    """Plant, redact, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=20, help="places of keys to list")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", SyntaxWarning)
    hidden, broken = 0, 0
    for line, secret in key_lines(arguments.keys, arguments.seed):
        text = redact(f"def connect():\n    {line}\n")[0]
        hidden += not any(piece in text for piece in secret.split())
        broken += not parses(text)
    addresses = emails(arguments.keys, arguments.seed)
    gone = sum(address not in redact(f"# by Jo <{address}>\n")[0] for address in addresses)
    print(
        f"planted: {hidden} of {arguments.keys} keys ({hidden / arguments.keys:.1%}) and {gone} of "
        f"{len(addresses)} e-mail addresses ({gone / len(addresses):.1%}) redacted; {broken} files "
        "no longer parse"
    )
    precision, recall, _ = precision_and_recall(
        lambda text: [text[each.start : each.end] for each in findings(text)]
    )
    print(f"300 labelled lines: precision {precision:.1%}, recall {recall:.1%}")
    paths = sysconfig.get_paths()
    found = sorted(
        {p for key in ("stdlib", "purelib", "platlib") for p in Path(paths[key]).rglob("*.py")}
    )
    random.Random(arguments.seed).shuffle(found)
    counts, files, places = Counter[str](), Counter[str](), []
    num_files = num_bytes = broken = 0
    seconds = floor = 0.0
    for path in found:
        if num_files == arguments.files:
            break
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        num_files += 1
        num_bytes += len(text.encode("utf-8", "replace"))
        start = time.perf_counter()
        redacted, kinds = redact(text)
        middle = time.perf_counter()
        for _ in literals(text):
            pass
        seconds, floor = seconds + middle - start, floor + time.perf_counter() - middle
        counts.update(kinds)
        files.update(kinds.keys())
        if kinds and parses(text):
            broken += not parses(redacted)
        if "key" in kinds:
            lines = [text.count("\n", 0, f.start) + 1 for f in findings(text, ("key",))]
            places.append(f"{path.name} {lines}")
    print(f"{num_files} installed files, {num_bytes / 1e6:.0f} MB; {broken} no longer parse")
    for kind in KINDS:
        scale = 10_000 / num_files
        print(f"  {kind}: {counts[kind] * scale:.0f} in {files[kind] * scale:.0f} files per 10,000")
    print(f"  keys stand in: {'; '.join(places[: arguments.show])}")
    print(
        f"  {num_bytes / 1e6 / seconds:.1f} MB/s, floor {num_bytes / 1e6 / floor:.1f} MB/s, "
        f"{floor / seconds:.2f} of it"
    )


if __name__ == "__main__":
    main()
