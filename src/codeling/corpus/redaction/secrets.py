"""Secret keys in a text: detect-secrets' rules, applied only to candidate lines.

The rules are the regular expressions of detect-secrets' plugins for keys of a known format and its
two entropy rules: those that BigCode used for The Stack
(``bigcode-dataset/pii/utils/keys_detection.py``) and those for services added since. As in that
code, a rule sees one line. Every rule needs a run of at least 20 key characters, so numpy finds the
lines with such runs first, and only those lines are tested.

BigCode's filters for false positives (UUIDs, identifiers, templates, sequences, hashes, words)
apply to the entropy rules only. A key of a known format needs no further evidence, and the filter
"the file mentions hashes" would otherwise keep every key in such a file. Deviations: hexadecimal
strings count from 32 digits on, commit names count as hashes, and strings of more than 512
characters count as data. detect-secrets finds the first line of a private key block; this module
also finds its body.

This module must not store or print what it finds.
"""

import math
import re
import string
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from detect_secrets.filters import gibberish, heuristic
from detect_secrets.plugins import (
    artifactory,
    aws,
    azure_storage_key,
    cloudant,
    discord,
    github_token,
    gitlab_token,
    ibm_cloud_iam,
    ibm_cos_hmac,
    jwt,
    mailchimp,
    npm,
    openai,
    pypi_token,
    sendgrid,
    slack,
    softlayer,
    square_oauth,
    stripe,
    telegram_token,
    twilio,
)
from gibberish_detector.detector import Detector, create_from_model

RUN_CHARACTERS = 20
"""Minimum length of a run of key characters; AWS key ids have 20."""
HEX_CHARACTERS = 32
MAX_CHARACTERS = 512
BASE64_BITS, HEX_BITS = 4.5, 3.0
"""Minimum Shannon entropy of a random string, in bits per character; detect-secrets' defaults."""
WORDLIKE = 3.7
"""Maximum mean surprisal of a pair of letters in words, in nats; detect-secrets' default."""
HASH_LINES = 0.02
"""A file with more mentions of hashes per line contains hashes, not keys; BigCode's value."""

Span = tuple[int, int]
"""Start (inclusive) and end (exclusive), in characters."""

_PLUGINS = (
    artifactory.ArtifactoryDetector,
    aws.AWSKeyDetector,
    azure_storage_key.AzureStorageKeyDetector,
    cloudant.CloudantDetector,
    discord.DiscordBotTokenDetector,
    github_token.GitHubTokenDetector,
    gitlab_token.GitLabTokenDetector,
    ibm_cloud_iam.IbmCloudIamDetector,
    ibm_cos_hmac.IbmCosHmacDetector,
    jwt.JwtTokenDetector,
    mailchimp.MailchimpDetector,
    npm.NpmDetector,
    openai.OpenAIDetector,
    pypi_token.PypiTokenDetector,
    sendgrid.SendGridDetector,
    slack.SlackDetector,
    softlayer.SoftlayerDetector,
    square_oauth.SquareOAuthDetector,
    stripe.StripeDetector,
    telegram_token.TelegramBotTokenDetector,
    twilio.TwilioKeyDetector,
)
_RULES = tuple((plugin, regex) for plugin in _PLUGINS for regex in plugin.denylist)
_LEAST_RUN = {
    ibm_cloud_iam.IbmCloudIamDetector: 44,
    ibm_cos_hmac.IbmCosHmacDetector: 48,
    softlayer.SoftlayerDetector: 64,
}
"""Minimum run length that these slow rules need for a match."""
_HINTS = {artifactory.ArtifactoryDetector: ("AKC", "AP"), cloudant.CloudantDetector: ("cl", "CL")}
"""Prefixes, one of which each match of these slow rules contains."""

_QUOTED = re.compile(r"""(["'])([A-Za-z0-9+/\-_=]{20,512})\1""")
_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(.{1,20000}?)-----END", re.DOTALL
)
_RUN = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{24,}")
_BODY = re.compile(r"[A-Za-z0-9+/=]{16,}")
_ALLOWED = re.compile(r"[A-Za-z0-9+/_=.:~-]+")
_ESCAPE = re.compile(
    r"\\(?:[abfnrtv]|[0-7]{1,3}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})\Z"
)
_SEPARATORS, _DIGIT = re.compile(r"[_/=-]"), re.compile(r"[0-9]")
_HASH_WORDS = ("sha", "md5", "hash", "byte", "commit", "revision", "version")

_HASH_LENGTHS = (32, 40, 64)
_GROUP_CHARACTERS = 16
"""A regex group of at least this length is the key; a shorter group is a part of it."""

_KEY_BYTES = np.zeros(256, np.bool_)
_KEY_BYTES[list((string.ascii_letters + string.digits + "+/_=-").encode())] = True


def find_keys(text: str) -> Iterator[Span]:
    """Spans of the keys in ``text``, unsorted; spans may overlap."""
    if "PRIVATE KEY" in text:
        for block in _BLOCK.finditer(text):
            for body in _BODY.finditer(text, *block.span(1)):
                yield body.span()
    spans = list(_candidates(text))
    if not spans:
        return
    lines = [text[start:end] for start, end in spans]
    excerpt = "\n".join(lines)
    line_starts = [0, *accumulate(len(line) + 1 for line in lines)]
    longest = max(map(len, _RUN.findall(excerpt)), default=0)
    for low, high in _keys_of_known_format(excerpt, longest):
        line = bisect_right(line_starts, low) - 1
        yield spans[line][0] + low - line_starts[line], spans[line][0] + high - line_starts[line]
    has_hashes: bool | None = None
    for found in _QUOTED.finditer(excerpt):
        line = bisect_right(line_starts, found.start()) - 1
        start = found.start(2) - line_starts[line]
        if _is_random(found[2]) and _is_secret(found[2], lines[line], start):
            has_hashes = _has_hashes(text) if has_hashes is None else has_hashes
            if not has_hashes:
                yield spans[line][0] + start, spans[line][0] + start + len(found[2])


def _candidates(text: str) -> Iterator[Span]:
    """Lines with a long run of key characters; long lines are cut around the run."""
    data = np.frombuffer(text.encode("ascii", "replace"), np.uint8)
    within = np.zeros(len(data) + 2, np.bool_)
    within[1:-1] = _KEY_BYTES[data]
    edges = np.flatnonzero(within[1:] != within[:-1])
    starts, ends = edges[0::2], edges[1::2]
    long = ends - starts >= RUN_CHARACTERS
    seen = 0
    for start, end in zip(starts[long].tolist(), ends[long].tolist(), strict=True):
        if end > seen and _may_be_key(text[start:end]):
            low = max(text.rfind("\n", 0, start) + 1, start - MAX_CHARACTERS - 100)
            seen = text.find("\n", end)
            seen = min(len(text) if seen < 0 else seen, end + MAX_CHARACTERS + 100)
            yield low, seen


def _may_be_key(run: str) -> bool:
    """Whether a run is neither a line of dashes nor short words joined by ``_ / = -``."""
    if len(set(run)) < 8:
        return False
    return (
        _DIGIT.search(run) is not None or max(map(len, _SEPARATORS.split(run))) >= _GROUP_CHARACTERS
    )


def _keys_of_known_format(lines: str, longest: int) -> Iterator[Span]:
    """Spans of keys of a known format, without the context that the rules match.

    ``longest`` is the length of the longest run in the lines.
    """
    for plugin, regex in _RULES:
        hints = _HINTS.get(plugin, ("",))
        if longest < _LEAST_RUN.get(plugin, 0) or not any(hint in lines for hint in hints):
            continue
        for found in regex.finditer(lines):
            is_token = plugin is jwt.JwtTokenDetector
            if is_token and not jwt.JwtTokenDetector.is_formally_valid(found[0]):
                continue
            groups = [found.span(i) for i in range(1, regex.groups + 1)]
            long = [(low, high) for low, high in groups if high - low >= _GROUP_CHARACTERS]
            inner = _ALLOWED.search(lines, *(long or [found.span()])[-1])
            if inner is None or _continues_word(lines, inner.start()):
                continue
            # The JWT rule does not match the signature.
            rest = _ALLOWED.match(lines, inner.end()) if is_token else None
            yield inner.start(), (rest or inner).end()


def _continues_word(line: str, start: int) -> bool:
    """Whether a word character, but no escape sequence, precedes ``start``."""
    before = line[start - 1 : start]
    is_word = before.isalnum() or before == "_"
    return is_word and _ESCAPE.search(line, max(0, start - 10), start) is None


def _is_random(value: str) -> bool:
    """detect-secrets' two entropy rules, and its test for letter pairs of natural words."""
    if set(value) <= set(string.hexdigits):
        return len(value) >= HEX_CHARACTERS and not value.isdigit() and _bits(value) > HEX_BITS
    return _bits(value) > BASE64_BITS and _detector().is_gibberish(value.lower())


def _bits(value: str) -> float:
    """Shannon entropy in bits per character."""
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares)


@lru_cache(maxsize=1)
def _detector() -> Detector:
    return create_from_model(str(Path(gibberish.__file__).with_name("rfc.model")), WORDLIKE)


def _is_secret(value: str, line: str, start: int) -> bool:
    """BigCode's filters for false positives among random strings."""
    if (
        heuristic.is_potential_uuid(value)
        or heuristic.is_likely_id_string(value, line)
        or heuristic.is_templated_secret(value)
        or heuristic.is_sequential_string(value)
        or _is_alphabet(value)
    ):
        return False
    before = line[:start].lower()
    return not (len(value) in _HASH_LENGTHS and any(word in before for word in _HASH_WORDS))


def _is_alphabet(value: str) -> bool:
    """Whether most characters are one more than the one before, as in ``ABCDEFGH…0123``."""
    steps = sum(ord(after) - ord(before) == 1 for before, after in pairwise(value))
    return 2 * steps > len(value)


def _has_hashes(text: str) -> bool:
    limit = int(HASH_LINES * text.count("\n"))
    lower = text.lower()
    return lower.count("sha") > limit or lower.count("hash") > limit
