import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.cli.screen import Screen, line

PROGRAM = """
import time
from codeling.cli.screen import Screen
screen = Screen()
with screen.task("training", 100_000, "tokens") as advance:
    for k in range(20):
        advance(5_000, f"loss {3 - k / 10:.3f}")
        time.sleep(0.05)
        if k == 10:
            screen.note("a line that stays \\x1b[31m")
screen.note("the end")
"""


def shown(width: int, **changes: object) -> str:
    values: dict[str, object] = {
        "rate": 25_536.0, "elapsed": 65.0, "detail": "loss 3.638  MFU 10%", "width": width
    }  # fmt: skip
    return line("training", 92_160, 153_600, "tokens", **{**values, **changes}).plain  # type: ignore[arg-type]


def test_a_wide_line_shows_every_part() -> None:
    assert shown(120, rate=1024.0).endswith(
        "  92,160 of 153,600 tokens  1,024 tokens/s  loss 3.638  MFU 10%  0:01:00 left"
    )
    assert re.match(r"training ━{8,40}  ", shown(120))


@pytest.mark.parametrize(
    "rate, expected", [(0.4, "2.5 s/entry"), (0.004, "250 s/entry"), (1.0, "1 entry/s")]
)
def test_a_slow_rate_is_given_in_seconds(rate: float, expected: str) -> None:
    text = line("x", 2, 7, "entries", rate=rate, elapsed=5.0, detail="", width=90).plain
    assert f"  2 of 7 entries  {expected}  " in text


def test_a_narrow_line_drops_the_least_important_parts_first() -> None:
    order = ["of 153,600", "loss", "tokens/s", "left"]
    for width in range(150, 10, -1):
        there = [part in shown(width) for part in order]
        assert there == sorted(there), shown(width)
    assert shown(77).endswith("25,536 tokens/s  loss 3.638  MFU 10%  0:00:02 left")
    assert "left" in shown(24)


def test_elapsed_time_is_shown_when_the_total_is_unknown() -> None:
    assert (
        line("reading", 2_000_000, None, "bytes", rate=1e6, elapsed=2.0, detail="", width=77).plain
        == "reading  2.0 MB  1.0 MB/s  0:00:02"
    )
    assert shown(120, rate=None).endswith("0:01:05")


@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30),
    st.floats(0, 1e12),
    st.none() | st.floats(1, 1e12),
    st.sampled_from(["bytes", "files"]),
    st.none() | st.floats(1e-3, 1e9),
    st.floats(0, 1e6),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    st.integers(1, 200),
)
def test_a_line_is_never_wider_than_the_terminal(
    label: str, done: float, total: float | None, unit: str, rate: float | None, elapsed: float,
    detail: str, width: int,
) -> None:  # fmt: skip
    text = line(label, done, total, unit, rate=rate, elapsed=elapsed, detail=detail, width=width)
    assert text.cell_len <= width


def on_terminal(columns: int, then: int | None = None, program: str = PROGRAM) -> str:
    """Output to a terminal with ``columns`` columns, resized to ``then`` during the run."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=slave, stdout=slave, stderr=slave, env={**environment, "TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    sent, start = b"", time.monotonic()
    try:
        while piece := os.read(master, 65536):
            sent += piece
            if then is not None and time.monotonic() - start > 0.8:
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, then, 0, 0))
    except OSError:  # the other side is closed
        pass
    os.close(master)
    assert child.wait(20) == 0
    return sent.decode()


@pytest.mark.parametrize(("columns", "then"), [(80, None), (40, None), (100, 60)])
def test_every_bar_is_one_line_on_a_terminal(columns: int, then: int | None) -> None:
    sent = on_terminal(columns, then)
    frames = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent))
    bars = [frame for frame in frames if "training" in frame]
    assert bars
    assert max(map(len, frames)) <= columns
    assert any(re.search(r"\d tokens/s", bar) for bar in bars) or columns < 60
    assert any(re.search(r"\d:\d\d:\d\d left", bar) for bar in bars)
    assert [frame for frame in frames if "stays" in frame] == ["a line that stays \\x1b[31m"]
    assert frames[-2:] == ["the end", ""]
    moves = re.findall(r"\x1b\[\d*A", sent)
    assert len(moves) <= 2, "a bar of more than one line is drawn by moving up"


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}])
def test_a_pipe_gets_plain_lines(variables: dict[str, str]) -> None:
    """Also under Jupyter, which sets variables that force colours."""
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("time.sleep(0.05)", "pass")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **variables},
    )
    assert answer.stdout == ""
    assert answer.stderr.splitlines() == ["training …", "a line that stays \\x1b[31m", "the end"]


def test_a_pipe_gets_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("codeling.cli.screen.time.monotonic", lambda: now)
    with Screen().task("training", 1_000, "tokens") as advance:
        advance(100)  # done before
        for step in range(1, 31):
            now = float(step)
            advance(10 if step <= 15 else 20, f"loss {step}", 800 if step > 15 else None)
    assert capsys.readouterr().err.splitlines() == [
        "training …",
        "training: 200 of 1,000 tokens, 20 tokens/s, loss 10, 0:00:40 left",
        "training: 350 of 800 tokens, 15 tokens/s, loss 20, 0:00:30 left",
        "training: 550 of 800 tokens, 20 tokens/s, loss 30, 0:00:12 left",
    ]


def test_the_bar_takes_a_new_total() -> None:
    code = PROGRAM.replace('loss {3 - k / 10:.3f}"', 'x", 200_000 - 5_000 * k')
    assert code != PROGRAM
    sent = on_terminal(100, program=code)
    assert "of 195,000 tokens" in sent or "of 190,000 tokens" in sent
    assert re.search("of 1[0-4][05],000 tokens", sent)


def test_a_long_note_is_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().note("word " * 100)
    assert capsys.readouterr().err == "word " * 100 + "\n"
