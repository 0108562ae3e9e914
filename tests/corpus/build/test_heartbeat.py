import threading
import time
from pathlib import Path

from codeling.corpus.build.heartbeat import Watchdog, heartbeat, read_heartbeats


def test_a_running_task_has_a_file_with_its_position(tmp_path: Path) -> None:
    with heartbeat(tmp_path) as beat:
        beat("a.parquet#7")
        assert list(read_heartbeats(tmp_path).values()) == ["1\na.parquet#7"]
        beat("a.parquet#8")  # too soon to be written again
        assert list(read_heartbeats(tmp_path).values()) == ["1\na.parquet#7"]
    assert list(tmp_path.iterdir()) == []
    with heartbeat(tmp_path / "missing") as beat:
        beat("nothing is raised")
    assert read_heartbeats(tmp_path / "missing") == {}


def test_the_watchdog_stops_a_stage_without_progress(tmp_path: Path) -> None:
    stopped = threading.Event()
    with heartbeat(tmp_path) as beat, Watchdog(tmp_path, 0.2, stopped.set) as watchdog:
        beat("a.parquet#7")
        with watchdog.waiting():
            assert stopped.wait(30)
        assert watchdog.positions == ["a.parquet#7"]


def test_heartbeats_answers_and_pauses_of_the_caller_are_no_stall(tmp_path: Path) -> None:
    stopped = threading.Event()
    path = tmp_path / "task.heartbeat"
    with Watchdog(tmp_path, 1.2, stopped.set) as watchdog:
        with watchdog.waiting():
            for number in range(18):
                path.write_text(f"{number}\nslow.jsonl#0")
                time.sleep(0.1)
        for _ in range(18):
            with watchdog.waiting():
                time.sleep(0.1)
        time.sleep(1.8)
    assert not stopped.is_set()
    assert watchdog.positions is None
