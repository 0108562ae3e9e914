"""Programs that look for the test that judges them: in frames, among all objects, in their memory,
in files and open files. None finds it.
"""

import pytest

from codeling.evaluation.sandbox import Job, Limits, Sandbox

pytestmark = pytest.mark.usefixtures("sandbox")  # skips where none can start

SECRET = "a-word-that-stands-in-the-test-alone"


FIND = """
import ctypes, gc, mmap, os, sys

# Put together so that the program's own source does not hold it, nor its constants.
PARTS = ("a-word-that-", "stands-in-", "the-test-", "alone")

def wanted(text):
    return all(part in text for part in PARTS) and "".join(PARTS) in text

def by_frames():
    for number, frame in sys._current_frames().items():
        while frame:
            for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
                if wanted(repr(value)[:100_000]):
                    return True
            frame = frame.f_back

def by_objects():
    for value in gc.get_objects():
        try:
            if type(value) in (dict, list, tuple, str, bytes) and wanted(repr(value)[:100_000]):
                return True
        except Exception:
            pass

def by_files():
    for top in ("/tmp", "/ours", "/proc", "/dev/fd", "/run", "/sys"):
        for folder, _, names in os.walk(top):
            for name in names:
                try:
                    with open(os.path.join(folder, name), errors="replace") as file:
                        if wanted(file.read(1 << 20)):
                            return True
                except OSError:
                    pass

def by_open_files():
    for fd in range(4, 200):
        try:
            os.fstat(fd)
            return True
        except OSError:
            pass

def by_memory():
    # Without /proc there is no map: write() fails with EFAULT where there is no memory. Around
    # the heap and some object of Python's.
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sbrk.restype = ctypes.c_void_p
    size = mmap.PAGESIZE
    read, write = os.pipe()
    pages = 0
    for start in (libc.sbrk(0) - (64 << 20), id([]) - (16 << 20)):
        for page in range(start // size * size, start + (72 << 20), size):
            if libc.write(write, ctypes.c_void_p(page), ctypes.c_size_t(size)) != size:
                continue
            pages += 1
            data = os.read(read, size)
            at = data.find(b"a-word-that-")
            rest = data[at + 12 : at + 36]
            if at >= 0 and (rest[:10], rest[10:19], rest[19:]) == (
                b"stands-in-", b"the-test-", b"alone"
            ):
                return True
    assert pages > 1_000, pages
"""


@pytest.mark.parametrize(
    "way", ["by_frames", "by_objects", "by_files", "by_open_files", "by_memory"]
)
def test_the_test_is_not_to_be_found(way: str) -> None:
    # A program that finds it would answer True. The ways look for a word that the program's own
    # source and constants hold in parts only.
    check = f"SECRET = {SECRET!r}\nassert {way}() is None, 'found'\n"
    limits = Limits(cpu_seconds=20, wall_seconds=60)
    with Sandbox(workers=1, limits=limits) as sandbox:
        [verdict] = sandbox.judge([Job(way, FIND, check)])
    assert verdict.passed, verdict


def test_the_search_finds_a_secret_that_is_there() -> None:
    # The same ways in a program that does hold the word: so the test above can fail.
    holds = f'\nHELD = [{SECRET!r}]\nopen("/tmp/held", "w").write(HELD[0])\n'
    check = "assert by_objects() is True\nassert by_files() is True\nassert by_memory() is True"
    with Sandbox(workers=1, limits=Limits(cpu_seconds=20, wall_seconds=60)) as sandbox:
        [verdict] = sandbox.judge([Job("holds", FIND + holds, check)])
    assert verdict.passed, verdict
