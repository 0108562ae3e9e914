"""Memory and processor time of a process with all its descendants (Linux)."""

import os
import re
from contextlib import suppress
from pathlib import Path


def process_tree(root: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def memory(root: int) -> tuple[int, int]:
    """RSS and PSS of a process tree in bytes."""
    rss = pss = 0
    for process in process_tree(root):
        with suppress(OSError):
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            rss += 1024 * sum(map(int, re.findall(r"^Rss:\s+(\d+)", text, re.MULTILINE)))
            pss += 1024 * sum(map(int, re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)))
    return rss, pss


def processor_seconds(root: int) -> float:
    """Processor time of a process tree so far; 0 where there is no ``/proc``."""
    ticks = 0
    for process in process_tree(root):
        with suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
