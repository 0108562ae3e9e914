"""Made-up secrets, in the forms that they have in code."""

import base64
import json
import random
import string
from collections.abc import Callable

_ALNUM = string.ascii_letters + string.digits
_DIGITS = "123456789"
_HEX = "0123456789abcdef"


def _of(draw: random.Random, characters: str, count: int) -> str:
    return "".join(draw.choices(characters, k=count))


def _token(draw: random.Random) -> str:
    head, claims = {"alg": "HS256", "typ": "JWT"}, {"sub": _of(draw, string.digits, 10)}
    parts = [json.dumps(each, separators=(",", ":")).encode() for each in (head, claims)]
    encoded = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, _of(draw, _ALNUM + "-_", 43)])


def _private_key(draw: random.Random) -> tuple[str, str]:
    body = [_of(draw, _ALNUM + "+/", 64) for _ in range(4)]
    kind = draw.choice(["RSA ", "EC ", "OPENSSH ", ""])
    lines = [f"-----BEGIN {kind}PRIVATE KEY-----", *body, f"-----END {kind}PRIVATE KEY-----"]
    return 'PRIVATE_KEY = """' + "\n".join(lines) + '"""', " ".join(body)


def key_lines(count: int, seed: int) -> list[tuple[str, str]]:
    """Lines of Python with a key in each, and the key (its lines, where it has several)."""
    draw = random.Random(seed)
    upper = string.ascii_uppercase + "234567"
    slug = _ALNUM + "-_"

    def of(*parts: tuple[str, int] | str) -> str:
        return "".join(part if isinstance(part, str) else _of(draw, *part) for part in parts)

    kinds: list[tuple[str, Callable[[], str]]] = [
        ("AWS_ACCESS_KEY_ID = '{}'", lambda: of("AKIA", (upper, 16))),
        ('aws_secret_access_key = "{}"', lambda: of((_ALNUM + "+/", 40))),
        ("headers = {{'Authorization': 'token {}'}}", lambda: of("ghp_", (_ALNUM, 36))),
        ("get(url, headers={{'PRIVATE-TOKEN': '{}'}})", lambda: of("glpat-", (_ALNUM, 20))),
        ('SLACK = "{}"', lambda: of("xoxb-", (_DIGITS, 12), "-", (_DIGITS, 12), "-", (_ALNUM, 24))),
        (
            "hook = 'https://hooks.slack.com/services/{}'",
            lambda: of("T", (upper, 8), "/B", (upper, 8), "/", (_ALNUM, 24)),
        ),
        ("stripe.api_key = '{}'", lambda: of("sk_live_", (_ALNUM, 24))),
        ('client = SendGrid("{}")', lambda: of("SG.", (_ALNUM, 22), ".", (slug, 43))),
        ("jwt = '{}'", lambda: _token(draw)),
        ('openai.api_key = "{}"', lambda: of("sk-", (_ALNUM, 20), "T3BlbkFJ", (_ALNUM, 20))),
        ('bot = Bot("{}")', lambda: of((_DIGITS, 10), ":", (slug, 35))),
        ("client.run('{}')", lambda: of("M", (_ALNUM, 23), ".", (_ALNUM, 6), ".", (slug, 27))),
        ('account = "AC{}"', lambda: of((_HEX, 32))),
        ("mailchimp = '{}'", lambda: of((_HEX, 32), "-us7")),
        ('conn = "AccountName=x;AccountKey={}"', lambda: of((_ALNUM + "+/", 86), "==")),
        ("pypi = '{}'", lambda: of("pypi-AgEIcHlwaS5vcmc", (slug, 80))),
        ('API_KEY = "{}"', lambda: of((_HEX, 32))),
        ("SECRET_TOKEN = '{}'", lambda: of((_HEX, 40))),
        ('SECRET_KEY = "{}"', lambda: of((slug, 43))),
        ("password = '{}'  # of the database", lambda: of((_ALNUM, 40))),
    ]
    lines = []
    for number in range(count):
        if number % (len(kinds) + 1) == len(kinds):
            lines.append(_private_key(draw))
        else:
            form, make = kinds[number % (len(kinds) + 1)]
            secret = make()
            lines.append((form.format(secret), secret))
    return lines


def emails(count: int, seed: int) -> list[str]:
    """Addresses in the forms that people have."""
    draw = random.Random(seed)
    first, last = ["jane", "li", "omar", "ana", "j"], ["doe", "wang", "o-brien", "silva99", "k"]
    hosts = ["gmail.com", "mail.ru", "cs.uni-bonn.de", "corp.co.uk", "163.com", "x.io", "a-b.dev"]
    forms = ["{}.{}@{}", "{}_{}@{}", "{}{}@{}", "{}+{}@{}", "{}-{}@{}"]
    return [
        draw.choice(forms).format(
            draw.choice(first), draw.choice(last) + str(i), draw.choice(hosts)
        )
        for i in range(count)
    ]
