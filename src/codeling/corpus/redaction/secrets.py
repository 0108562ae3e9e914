"""Secret keys in a text: detect-secrets' rules, asked only where there may be one.

The rules are the regular expressions of detect-secrets' plugins for keys of a known form, and
its two for strings of high entropy: those that BigCode chose for The Stack
(``bigcode-dataset/pii/utils/keys_detection.py``) and those for services added since. As there,
a rule sees one line. All of them need 20 characters in a row that keys are written in, so numpy
looks for such runs first, and the rules are asked about their lines alone.

BigCode's gates against false alarms (UUIDs, identifiers, templates, sequences, hashes, words)
are asked of the entropy rules only: a key of a known form needs no more proof, and asked about
all, the gate "a file that speaks of hashes" would let any key in such a file pass. Deviations:
hexadecimal strings count from 32 digits on, a commit's name is a hash, and strings of more
than 512 characters are data.
The body of a private key's block, of which detect-secrets finds the first line, is looked for
here. This module must not keep or print what it finds.
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
"""Characters in a row from which on one may be a key; AWS's key ids have so many."""
HEX_CHARACTERS = 32
MAX_CHARACTERS = 512
BASE64_BITS, HEX_BITS = 4.5, 3.0
"""Shannon entropy a character above which a string may be random; detect-secrets' defaults."""
WORDLIKE = 3.7
"""Mean surprise of a pair of letters, in nats, up to which they may be words; detect-secrets'."""
HASH_LINES = 0.02
"""A file in which so many lines speak of hashes has hashes, not keys; BigCode's."""

Span = tuple[int, int]
"""First character, and the one after the last."""

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
"""Characters in a row without which these rules, the slow ones, find nothing."""
_HINTS = {artifactory.ArtifactoryDetector: ("AKC", "AP"), cloudant.CloudantDetector: ("cl", "CL")}
"""What their finds, or the name before them, begin with."""

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
_SIGNS, _DIGIT = re.compile(r"[_/=-]"), re.compile(r"[0-9]")
_HASH_WORDS = ("sha", "md5", "hash", "byte", "commit", "revision", "version")

_HASH_LENGTHS = (32, 40, 64)
_GROUP_CHARACTERS = 16
"""A rule's group of so many characters is the key; a shorter one is a part of it."""

_KEY_BYTES = np.zeros(256, np.bool_)
_KEY_BYTES[list((string.ascii_letters + string.digits + "+/_=-").encode())] = True


def find_keys(text: str) -> Iterator[Span]:
    """Where keys stand in ``text``; spans may overlap and come in no order."""
    if "PRIVATE KEY" in text:
        for block in _BLOCK.finditer(text):
            for body in _BODY.finditer(text, *block.span(1)):
                yield body.span()
    places = list(_candidates(text))
    if not places:
        return
    lines = [text[start:end] for start, end in places]
    excerpt = "\n".join(lines)
    begins = [0, *accumulate(len(line) + 1 for line in lines)]
    longest = max(map(len, _RUN.findall(excerpt)), default=0)
    for low, high in _known(excerpt, longest):
        line = bisect_right(begins, low) - 1
        yield places[line][0] + low - begins[line], places[line][0] + high - begins[line]
    has_hashes: bool | None = None
    for found in _QUOTED.finditer(excerpt):
        line = bisect_right(begins, found.start()) - 1
        start = found.start(2) - begins[line]
        if _is_random(found[2]) and _is_secret(found[2], lines[line], start):
            has_hashes = _has_hashes(text) if has_hashes is None else has_hashes
            if not has_hashes:
                yield places[line][0] + start, places[line][0] + start + len(found[2])


def _candidates(text: str) -> Iterator[Span]:
    """Lines with a run of characters that is long enough and not a name; of long ones a part."""
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
    """Not a rule of dashes, and not short words joined by signs."""
    if len(set(run)) < 8:
        return False
    return _DIGIT.search(run) is not None or max(map(len, _SIGNS.split(run))) >= _GROUP_CHARACTERS


def _known(lines: str, longest: int) -> Iterator[Span]:
    """Keys of a known form, without what the rules see around them.

    ``longest`` is the longest run in the lines.
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
            if inner is None or _is_rest(lines, inner.start()):
                continue
            # A token's rule ends before its signature.
            rest = _ALLOWED.match(lines, inner.end()) if is_token else None
            yield inner.start(), (rest or inner).end()


def _is_rest(line: str, start: int) -> bool:
    """Whether a word stands right before ``start``; an escape sequence is none."""
    before = line[start - 1 : start]
    is_word = before.isalnum() or before == "_"
    return is_word and _ESCAPE.search(line, max(0, start - 10), start) is None


def _is_random(value: str) -> bool:
    """detect-secrets' two entropy rules, and that its letters are not in pairs of a language."""
    if set(value) <= set(string.hexdigits):
        return len(value) >= HEX_CHARACTERS and not value.isdigit() and _bits(value) > HEX_BITS
    return _bits(value) > BASE64_BITS and _detector().is_gibberish(value.lower())


def _bits(value: str) -> float:
    """Shannon entropy of a character."""
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares)


@lru_cache(maxsize=1)
def _detector() -> Detector:
    return create_from_model(str(Path(gibberish.__file__).with_name("rfc.model")), WORDLIKE)


def _is_secret(value: str, line: str, start: int) -> bool:
    """BigCode's gates on what is random."""
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
    """Whether most characters follow each other as in a table: ``ABCDEFGH…0123``."""
    steps = sum(ord(after) - ord(before) == 1 for before, after in pairwise(value))
    return 2 * steps > len(value)


def _has_hashes(text: str) -> bool:
    limit = int(HASH_LINES * text.count("\n"))
    lower = text.lower()
    return lower.count("sha") > limit or lower.count("hash") > limit
