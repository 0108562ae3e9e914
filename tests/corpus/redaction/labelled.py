"""300 labelled lines: what redaction has to find in them, and nothing else.

Those with addresses are hand-made, in ``labelled.txt``: secrets stand between « and ». Keys are
drawn, since a file with keys in it would be taken for a leak.
"""

import re
from collections.abc import Callable
from pathlib import Path

from .planted import key_lines

CASES = 300


def cases() -> list[tuple[str, list[str]]]:
    """A line, and its secrets."""
    lines = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()[1:]
    marked = [(re.sub("[«»]", "", line), re.findall("«(.*?)»", line)) for line in lines]
    return marked + [(line, key.split()) for line, key in key_lines(CASES - len(marked), seed=11)]


def precision_and_recall(hidden: Callable[[str], list[str]]) -> tuple[float, float, list[str]]:
    """Precision and recall of ``hidden`` over all lines, and the lines with a mistake."""
    right = found = wanted = 0
    mistakes = []
    for line, secrets in cases():
        texts = hidden(line)
        hits = [text for text in texts if any(secret in text for secret in secrets)]
        missed = [secret for secret in secrets if not any(secret in text for text in texts)]
        right += len(secrets) - len(missed)
        found += len(secrets) - len(missed) + len(texts) - len(hits)
        wanted += len(secrets)
        if missed or len(hits) < len(texts):
            mistakes.append(line)
    return right / found, right / wanted, mistakes
