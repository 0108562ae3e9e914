import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.source_text import UndecodableError, decode


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"x = 1\r\ny = 2\rz = 3\n", "x = 1\ny = 2\nz = 3\n"),
        (b"\xef\xbb\xbfx = 1\n", "x = 1\n"),
        ("# coding: latin-1\ns = 'é'\n".encode("latin-1"), "# coding: latin-1\ns = 'é'\n"),
        ("#!/bin/x\n# vim: fileencoding=cp1251\nя = 1\n".encode("cp1251"),
         "#!/bin/x\n# vim: fileencoding=cp1251\nя = 1\n"),
        (b"", ""),
    ],
)  # fmt: skip
def test_sources_are_decoded_as_python_does(data: bytes, text: str) -> None:
    assert decode(data) == text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"x = 1\0\n", "nul_bytes"),
        ("x = 1\n".encode("utf-16"), "nul_bytes"),
        (b"s = '\xe9'\n", "wrong_encoding"),
        (b"# coding: no-such-codec\n", "wrong_encoding"),
        (b"# coding: rot13\nk = 1\n", "wrong_encoding"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "wrong_encoding"),
        (b"# coding: unicode_escape\ns = '\\ud800'\n", "wrong_encoding"),
    ],
)
def test_invalid_sources_have_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UndecodableError, match=f"^{reason}$"):
        decode(data)


@given(st.binary(max_size=80))
def test_decode_raises_only_its_own_errors(data: bytes) -> None:
    try:
        text = decode(data)
    except UndecodableError as error:
        assert str(error) in {"nul_bytes", "wrong_encoding"}  # noqa: PT017
    else:
        assert "\r" not in text
