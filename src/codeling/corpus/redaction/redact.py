"""Redaction: replace secrets and personal data in a text by placeholders.

Finds e-mail addresses, public IP addresses and keys, as BigCode did for The Stack
(``bigcode-dataset/pii``). Only strings and comments are searched: nothing else in a Python file can
contain one, and ``q@k.mT`` in code is a matrix product. Addresses that identify no person are kept:
domains and networks reserved for examples (RFC 2606, RFC 5737, RFC 3849), ``git@``, ``noreply@``,
well-known DNS resolvers, and four numbers that look like a version.

The placeholder is chosen by a hash of the secret, so a secret has the same placeholder in every
file. Each kind has only :data:`PLACEHOLDERS` placeholders. Many secrets therefore share one, and
hashing all possible addresses does not reveal which one was replaced. A placeholder consists of
letters, digits and ``@ . : _``, so text that parsed as Python still parses.

This module must not log or print what it finds.
"""

import hashlib
import ipaddress
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from codeling.corpus.redaction.domains import is_mail_domain
from codeling.corpus.redaction.secrets import find_keys
from codeling.python_lexer import literal_parts

Kind = Literal["email", "ip_address", "key"]
KINDS: tuple[Kind, ...] = ("email", "ip_address", "key")
PLACEHOLDERS = 512
"""Placeholders of each kind; nine bits of a hash do not identify a secret."""

_DOMAIN = re.compile(r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.))+[A-Za-z]{2,24})(?![\w@(\[-]|\.\w)")
"""The lookahead excludes names that are called, indexed or have attributes."""
_LOCAL = re.compile(r"[\w.+%-]{1,64}\Z")
_RESERVED_DOMAIN = re.compile(
    r"(?:.*\.)?(?:example(?:\.(?:com|org|net|edu))?|test|invalid|localhost|local|localdomain)\Z",
    re.IGNORECASE,
)
_IMPERSONAL = frozenset({"git", "hg", "svn", "noreply", "no-reply", "donotreply", "do-not-reply"})

_IP_ADDRESSES = (
    (
        re.compile(r"\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w-]|\.\w)"),
        re.compile(r"(?<![\w.+-])\d{1,3}\Z"),
    ),
    (
        re.compile(r":[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{0,29}(?![\w:]|\.\w)"),
        re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}\Z"),
    ),
)
"""For IPv4 and IPv6: a pattern for the part after the first number, and one for the first number.
The rest comes first because the regex engine scans quickly for its literal first character.
Global IPv6 addresses begin with 2 or 3."""
_RESOLVERS = frozenset(
    {
        "1.0.0.1", "1.1.1.1", "8.8.4.4", "8.8.8.8", "9.9.9.9", "149.112.112.112",
        "208.67.220.220", "208.67.222.222", "2001:4860:4860::8844", "2001:4860:4860::8888",
        "2606:4700:4700::1001", "2606:4700:4700::1111",
    }
)  # fmt: skip
_VERSION = re.compile(
    r"(?:(?:version|release|v|\b(?:oid|build|section|firmware|driver|android|chrome|chromium|edge?"
    r"|firefox|opera|safari))[\W_]{0,6}|[=<>~!]=\ ?|(?<![\w./:-])[A-Z][\w+-]*/)\Z",
    re.IGNORECASE,
)
"""Text before a version: a word, a comparison, or a product (``Chrome/120.0.0.0``)."""
_VERSION_LIMIT = 32
"""Four numbers that are all smaller count as a version, unless the text nearby mentions a server.
This affects one address in 4,096. BigCode's rule is four single digits."""
_SERVER = re.compile(r"dns|server", re.IGNORECASE)
_ESCAPE = re.compile(r"x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{1,3}|.", re.DOTALL)


@dataclass(frozen=True, order=True)
class Finding:
    """A span of a text to redact: characters ``start`` (inclusive) to ``end`` (exclusive)."""

    start: int
    end: int
    kind: Kind


def redact(
    text: str, kinds: tuple[Kind, ...] = KINDS, seed: int = 0
) -> tuple[str, Mapping[Kind, int]]:
    """Return the redacted text and the number of replacements of each kind.

    Without findings the result is ``text`` itself. ``seed`` determines the mapping from secrets to
    placeholders.
    """
    found = findings(text, kinds)
    parts, end = [], 0
    for finding in found:
        secret = text[finding.start : finding.end]
        parts += [text[end : finding.start], _placeholder(secret, finding.kind, seed)]
        end = finding.end
    return "".join([*parts, text[end:]]) if found else text, Counter(f.kind for f in found)


def findings(text: str, kinds: tuple[Kind, ...] = KINDS) -> list[Finding]:
    """Spans to redact, sorted and without overlap."""
    candidates = sorted(
        Finding(start, end, kind) for kind in kinds for start, end in _FINDERS[kind](text)
    )
    if not candidates:
        return []
    literals = literal_parts(text)
    starts = [start for start, _ in literals]
    found: list[Finding] = []
    for candidate in candidates:
        start = _after_escape(text, candidate.start)
        place = bisect_right(starts, start) - 1
        if place < 0 or candidate.end > literals[place][1] or start >= candidate.end:
            continue
        if found and start < found[-1].end:
            found[-1] = Finding(found[-1].start, max(found[-1].end, candidate.end), found[-1].kind)
        else:
            found.append(Finding(start, candidate.end, candidate.kind))
    return found


def _after_escape(text: str, start: int) -> int:
    """End of the escape sequence whose backslash precedes ``start``, or else ``start``."""
    backslashes = start
    while backslashes and text[backslashes - 1] == "\\":
        backslashes -= 1
    escape = _ESCAPE.match(text, start) if (start - backslashes) % 2 else None
    return escape.end() if escape else start


def _emails(text: str) -> Iterator[tuple[int, int]]:
    if "@" not in text:
        return
    for domain in _DOMAIN.finditer(text):
        local = _LOCAL.search(text, max(0, domain.start() - 64), domain.start())
        if (
            local
            and local[0].lower() not in _IMPERSONAL
            and not _RESERVED_DOMAIN.match(domain[1])
            and is_mail_domain(domain[1])
        ):
            yield local.start(), domain.end()


def _ip_addresses(text: str) -> Iterator[tuple[int, int]]:
    for rest, first in _IP_ADDRESSES:
        for match in rest.finditer(text):
            head = first.search(text, max(0, match.start() - 4), match.start())
            if head and _is_public(text, head.start(), match.end()):
                yield head.start(), match.end()


def _is_public(text: str, start: int, end: int) -> bool:
    try:
        address = ipaddress.ip_address(text[start:end])
    except ValueError:
        return False
    if not address.is_global or address.is_multicast or str(address) in _RESOLVERS:
        return False
    if _VERSION.search(text, max(0, start - 20), start):
        return False
    is_large = address.version == 6 or max(address.packed) >= _VERSION_LIMIT
    return is_large or bool(_SERVER.search(text, max(0, start - 100), end + 100))


def _placeholder(secret: str, kind: Kind, seed: int) -> str:
    hashed = hashlib.sha256(f"{seed} {kind} {secret}".encode("utf-8", "replace")).digest()
    number = int.from_bytes(hashed[:8], "big") % PLACEHOLDERS
    if kind == "email":
        return f"user{number}@example.com"
    if kind == "key":
        return f"KEY_{number}"
    if ":" in secret:
        return f"2001:db8::{number:x}"
    return f"{('192.0.2', '198.51.100')[number // 256]}.{number % 256}"


_FINDERS: Mapping[Kind, Callable[[str], Iterator[tuple[int, int]]]] = {
    "email": _emails,
    "ip_address": _ip_addresses,
    "key": find_keys,
}
