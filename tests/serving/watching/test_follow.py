"""What a page has received equals the log, whatever happens to the run in between."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from codeling.serving.watching.follow import MAX_POINTS, LogTail, RunFollower, thinned
from codeling.training.metrics import keep_until


def line(step: int, kind: str = "step") -> dict[str, Any]:
    return {"kind": kind, "step": step, "loss": 1 / (step + 1)}


def append(path: Path, *lines: dict[str, Any], torn: bytes = b"") -> None:
    with path.open("ab") as file:
        file.write(b"".join(json.dumps(each).encode() + b"\n" for each in lines) + torn)


class Page:
    """The points that a page shows."""

    def __init__(self, folder: Path) -> None:
        self.follower = RunFollower(folder)
        self.steps: list[int] = []
        self.others: list[dict[str, Any]] = []

    def look(self) -> None:
        for event in self.follower.events():
            if event["kind"] == "history":
                self.steps = []
            if event["kind"] in ("history", "points"):
                self.steps += [each["step"] for each in event["lines"]]
            else:
                self.others.append(event)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["step", "kill", "look", "open"]), st.integers(1, 9))))
def test_a_page_shows_each_step_of_the_log_once(actions: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "metrics.jsonl"
        pages, step = [Page(Path(name))], 0
        for action, amount in actions:
            if action == "step":
                append(log, *(line(step + n) for n in range(1, amount + 1)))
                step += amount
            elif action == "kill":  # in the middle of a line; continues from an earlier checkpoint
                append(log, torn=b'{"kind": "st')
                for page in pages[::2]:
                    page.look()
                step = max(0, step - amount)
                keep_until(log, step)
            elif action == "look":
                pages[amount % len(pages)].look()
            else:
                pages.append(Page(Path(name)))
        for page in pages:
            page.look()
            assert page.steps == list(range(1, step + 1))


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    tail = LogTail(log)
    assert tail.read() == (False, [])
    append(log, line(1), torn=b'{"kind"')
    assert tail.read() == (True, [line(1)])
    with log.open("ab") as file:
        file.write(b': "step", "step": 2, "loss": 0}\nno object\n[]\n')
    is_other, lines = tail.read()
    assert not is_other
    assert [each["step"] for each in lines] == [2]
    assert tail.read() == (False, [])
    log.unlink()
    assert tail.read() == (True, [])


def test_samples_and_rows_come_once_and_the_newest(tmp_path: Path) -> None:
    for step in (1, 2):
        append(tmp_path / "samples.jsonl", {"step": step, "prompt": "p", "completion": "c"})
    (tmp_path / "last_step.json").write_text('{"step": 2, "rows": [[{"text": "x"}]]}')
    page = Page(tmp_path)
    page.look()
    page.look()
    assert [(each["kind"], each["step"]) for each in page.others] == [("sample", 2), ("rows", 2)]
    (tmp_path / "new").write_text("damaged")
    (tmp_path / "new").rename(tmp_path / "last_step.json")
    page.look()
    assert len(page.others) == 2
    assert page.follower.age_seconds() is None
    append(tmp_path / "metrics.jsonl", line(1))
    os.utime(tmp_path / "metrics.jsonl", (1, 1))
    assert (page.follower.age_seconds() or 0) > 1e6


def test_a_long_past_is_thinned_but_keeps_its_validations_and_its_end() -> None:
    lines = [line(step, "validation" if step % 1000 == 0 else "step") for step in range(1, 20_002)]
    kept = thinned(lines)
    assert len([each for each in kept if each["kind"] == "step"]) <= MAX_POINTS
    assert [each["step"] for each in kept if each["kind"] == "validation"] == [
        1000 * n for n in range(1, 21)
    ]
    assert kept[-1] == lines[-1]
    assert [each["step"] for each in kept] == sorted(each["step"] for each in kept)
    assert thinned(lines[:900]) == lines[:900]
    assert thinned([]) == []
