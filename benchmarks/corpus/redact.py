"""Planted keys and e-mail addresses are redacted, and few strings of real files are.

Plants 200 random keys of the common kinds and 200 addresses, each in a function of its own. A key
counts as redacted if no part of it remains. Then redacts files of the installed Python and prints
the number of redactions of each kind per 10,000 files. Published packages contain no live keys, so
every redacted key there counts as a false positive. Addresses are mostly those of authors, so their
number is only reported. A file that parsed must still parse. The rate is compared with finding all
strings and comments. Redacted text is never printed.

    python -m benchmarks.corpus.redact --files 10000
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
    """Whether ``ast.parse`` accepts ``text``."""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def main() -> None:
    """Measure both and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000, help="installed files to redact")
    parser.add_argument("--keys", type=int, default=200, help="keys and addresses to plant")
    parser.add_argument("--seed", type=int, default=0, help="seed of both choices")
    parser.add_argument("--show", type=int, default=20, help="redacted keys to list")
    options = parser.parse_args()
    warnings.simplefilter("ignore", SyntaxWarning)
    num_redacted, broken = 0, 0
    for line, secret in key_lines(options.keys, options.seed):
        text = redact(f"def connect():\n    {line}\n")[0]
        num_redacted += not any(piece in text for piece in secret.split())
        broken += not parses(text)
    addresses = emails(options.keys, options.seed)
    num_addresses = sum(address not in redact(f"# by Jo <{address}>\n")[0] for address in addresses)
    for kind, count, total in (
        ("keys", num_redacted, options.keys),
        ("e-mail addresses", num_addresses, len(addresses)),
    ):
        print(f"planted {kind}: {count} of {total} ({count / total:.1%}) redacted")
    print(f"{broken} files with keys no longer parse")
    precision, recall, _ = precision_and_recall(
        lambda text: [text[each.start : each.end] for each in findings(text)]
    )
    print(f"300 labelled lines: precision {precision:.1%}, recall {recall:.1%}")
    paths = sysconfig.get_paths()
    found = sorted(
        {p for key in ("stdlib", "purelib", "platlib") for p in Path(paths[key]).rglob("*.py")}
    )
    random.Random(options.seed).shuffle(found)
    counts, files, places = Counter[str](), Counter[str](), []
    num_files = num_bytes = broken = 0
    seconds = lexer_seconds = 0.0
    for path in found:
        if num_files == options.files:
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
        seconds += middle - start
        lexer_seconds += time.perf_counter() - middle
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
    print(f"  redacted keys: {'; '.join(places[: options.show])}")
    print(
        f"  {num_bytes / 1e6 / seconds:.1f} MB/s, strings and comments alone "
        f"{num_bytes / 1e6 / lexer_seconds:.1f} MB/s (ratio {lexer_seconds / seconds:.2f})"
    )


if __name__ == "__main__":
    main()
