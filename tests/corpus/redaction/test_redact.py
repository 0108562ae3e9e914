import ast
import random
import re
import string
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeling.corpus.redaction.redact import KINDS, PLACEHOLDERS, Kind, findings, redact

from .labelled import cases, precision_and_recall
from .planted import emails, key_lines


def hidden(text: str) -> list[str]:
    return [text[finding.start : finding.end] for finding in findings(text)]


@pytest.mark.parametrize("seed", range(5))
def test_keys_of_the_usual_kinds_are_hidden(seed: int) -> None:
    missed = []
    for line, secret in key_lines(200, seed):
        code = f"import os\n\n\ndef connect():\n    {line}\n    return os.environ\n"
        redacted, _ = redact(code)
        ast.parse(redacted)
        if any(piece in redacted for piece in secret.split()):
            missed.append(line)
    assert len(missed) <= 2, "of 200, 1 %"


def test_emails_are_hidden() -> None:
    addresses = emails(200, seed=2)
    missed = [
        address
        for address in addresses
        for line in (f"# Author: Somebody <{address}>", f'AUTHOR = "{address}"')
        if address in redact(line)[0]
    ]
    assert len(missed) <= 0.05 * 2 * len(addresses)


@pytest.mark.parametrize(
    "text",
    [
        "x = q@k.mT + a@weight.shape",
        "@pytest.mark.slow",
        '"user@example.com, a@b.test, root@localhost"',
        '"git@github.com:org/repo.git"',
        '"icon@2x.png"',
        '"10.0.0.1 127.0.0.1 192.168.1.1 8.8.8.8 192.0.2.7 ::1 fe80::1 2001:db8::1"',
        '"version 10.20.30.40"',
        '"1.2.3.4"',
        '__version__ = "2.11.0.1"  # v12.13.14.15',
        'ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"',
        '"550e8400-e29b-41d4-a716-446655440000"',
        'SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"',
        '"test_a_long_name_of_some_function_with_2_numbers_and_3_words"',
        "AKIAQWERTYUIOPASDFGH = 1",
        "",
    ],
)
def test_text_that_is_not_secret_is_kept(text: str) -> None:
    assert hidden(text) == []
    assert redact(text) == (text, {})


def test_precision_and_recall_on_labelled_lines() -> None:
    assert len(cases()) == 300
    precision, recall, mistakes = precision_and_recall(hidden)
    sys.stdout.write(f"precision {precision:.3f}, recall {recall:.3f} of 300 labelled lines\n")
    assert precision >= 0.98, mistakes
    assert recall >= 0.98, mistakes


@pytest.mark.parametrize(
    "text",
    [
        '"Chrome/120.0.0.0"',
        "# q@k.transpose(-2)",
        "# x@self.weight.T",
        '"sprite@2x.webp"',
        '"getty@tty1.service"',
    ],
)
def test_code_files_and_products_are_no_addresses(text: str) -> None:
    assert hidden(text) == []


def test_a_secret_has_the_same_placeholder_everywhere() -> None:
    one = redact('a = "jane.doe@corp.io"')[0]
    other = redact("# ask jane.doe@corp.io, or john@corp.io")[0]
    (placeholder,) = re.findall(r"user\d+@example\.com", one)
    assert placeholder in other
    assert len(set(re.findall(r"user\d+@example\.com", other))) == 2
    assert redact('a = "jane.doe@corp.io"', seed=1)[0] != one


def test_few_placeholders_do_not_identify_secrets() -> None:
    address = "person{}@corp.io"
    placeholders = {redact(f'"{address.format(i)}"')[0] for i in range(20 * PLACEHOLDERS)}
    assert len(placeholders) == PLACEHOLDERS


def test_placeholders_are_not_redacted_again() -> None:
    texts = [f'"{each}"' for each in emails(50, seed=6)] + [
        line for line, _ in key_lines(50, seed=6)
    ]
    for text in [*texts, "'93.184.216.34'", "'2606:2800:220:1::1946'"]:
        redacted = redact(text)[0]
        assert redact(redacted) == (redacted, {})


@pytest.mark.parametrize(
    "secret", ["jane.doe@corp.io", "93.184.216.34", "ghp_" + "a1B2c3D4e5F6" * 3]
)
def test_secrets_within_formatted_strings_are_hidden(secret: str) -> None:
    for code in (
        f'x = f"{{users["{secret}"]}}"\n',
        f"x = f'{{users['{secret}']:>{{w}}}} and {secret}'\n",
        f'x = f"{{  # {secret}\n    y}}"\n',
        f'x = f"""{{f"{{users["{secret}"]}}"}}\n{secret}"""\n',
    ):
        assert secret not in redact(code)[0]
    assert hidden('x = f"{q@k.mT.io}"\n') == []


def test_only_requested_kinds_are_redacted() -> None:
    text = '"jane@corp.io 93.184.216.34 ghp_' + "a1B2c3D4e5F6" * 3 + '"'
    for kind in KINDS:
        assert redact(text, (kind,))[1] == {kind: 1}
    assert redact(text)[1] == dict.fromkeys(KINDS, 1)
    assert redact(text, ()) == (text, {})


def test_addresses_of_both_versions_are_hidden() -> None:
    text = 'HOSTS = ["93.184.216.34:8080", "http://[2606:2800:220:1::1946]/"]'
    redacted = redact(text)[0]
    assert re.fullmatch(
        r'HOSTS = \["(192\.0\.2|198\.51\.100)\.\d+:8080", "http://\[2001:db8::[0-9a-f]+\]/"\]',
        redacted,
    )


@pytest.mark.parametrize("escape", [r"\n", r"\\n", r"\x41", r"\u00e9", r"\U0001f600", r"\0", r"\t"])
@pytest.mark.parametrize("secret", ["jane@corp.io", "ghp_" + "a1B2c3D4e5F6" * 3])
def test_an_escape_sequence_before_a_secret_stays_whole(escape: str, secret: str) -> None:
    code = f'text = "line{escape}{secret}"\n'
    ast.parse(code)
    redacted = redact(code)[0]
    assert secret not in redacted
    ast.parse(redacted)


def test_the_body_of_a_private_key_is_hidden_however_it_is_written() -> None:
    draw = random.Random(3)
    body = ["".join(draw.choices(string.ascii_letters + string.digits + "+/", k=64)) for _ in "abc"]
    head, tail = (f"-----{word} RSA PRIVATE KEY-----" for word in ("BEGIN", "END"))
    written = [
        'KEY = """' + "\n".join([head, *body, tail]) + '"""\n',
        'KEY = "' + r"\n".join([head, *body, tail]) + '"\n',
        "KEY = (\n" + "".join(f'    "{line}\\n"\n' for line in [head, *body, tail]) + ")\n",
    ]
    for code in written:
        redacted = redact(code)[0]
        assert not any(line in redacted for line in body)
        assert head in redacted
        assert tail in redacted
        ast.parse(redacted)


PIECES = st.sampled_from(
    [*(line for line, _ in key_lines(40, seed=4)), *(f'"{each}"' for each in emails(20, seed=5)),
     "'93.184.216.34'", 'f"{x}"', "r'\\d'", '"""', "'", '"', "#", "\\", "\n", " ", "(", "é@b.io"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12), st.sampled_from(["", " ", "\n"]))
@settings(max_examples=100)
def test_redacting_keeps_python_and_its_lines(pieces: list[str], joint: str) -> None:
    text = joint.join(pieces)
    redacted, counts = redact(text)
    assert redacted.count("\n") == text.count("\n")
    assert sum(counts.values()) == len(findings(text))
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return
    ast.parse(redacted)


def test_the_redacted_standard_library_parses_and_has_few_false_keys() -> None:
    folder = Path(sysconfig.get_paths()["stdlib"])
    found = dict.fromkeys(KINDS, 0)
    for path in sorted(folder.glob("[a-h]*.py")):
        text = path.read_text(encoding="utf-8")
        redacted, counts = redact(text)
        ast.parse(redacted)
        for kind, count in counts.items():
            found[kind] += count
    assert found["key"] <= 1
    assert found["email"] > 5, "authors and maintainers"


def test_a_kind_is_spelled_as_in_a_recipe() -> None:
    kinds: tuple[Kind, ...] = KINDS
    assert kinds == ("email", "ip_address", "key")
