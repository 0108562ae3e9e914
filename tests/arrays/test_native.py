"""Kernels compared with numpy, and the code that is kept on disk."""

import importlib.util
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from codeling.arrays import jit, native
from codeling.arrays.native import kernel, kernel_of

SOURCE = '''
from codeling.arrays.native import kernel

@kernel(__file__)
def double(x):
    return 2 * x

@kernel(__file__)
def add(pair, factor, y, both):
    """y += double(factor) * a * b, row by row; the number of elements, and their sum."""
    a, (b, few) = pair
    total = 0.0
    for row in range(y.shape[0]):
        line = y[row]
        for column in range(y.shape[1]):
            line[column] += double(factor) * a[row, column] * b[column]
            total += line[column]
        if both:
            few[0] += row
    return y.size, total
'''


SMALL = """
from codeling.arrays.native import kernel

@kernel(__file__)
def double(x):
    return 2 * x
"""
"""For the tests of the files: it compiles in a fifth of the time."""


def module(folder: Path, text: str = SOURCE) -> ModuleType:
    """A module with the kernels of ``text``, as a new process imports it."""
    folder.mkdir(exist_ok=True)
    path = folder / "sums.py"
    path.write_text(text)
    native._digest.cache_clear()
    specification = importlib.util.spec_from_file_location("sums", path)
    assert specification is not None
    assert specification.loader is not None
    found = importlib.util.module_from_spec(specification)
    sys.modules["sums"] = found
    specification.loader.exec_module(found)
    return found


def call(kernels: ModuleType, factor: Any = 1.5, dtype: Any = np.float32) -> np.ndarray:
    """Call ``add`` and compare with numpy."""
    a, b = np.arange(6, dtype=dtype).reshape(2, 3), np.array([1, 0, 2], dtype)
    y, few = np.ones((2, 3), dtype), np.zeros(1, np.int64)
    size, total = kernels.add((a, (b, few)), factor, y, True)
    assert np.array_equal(y, 1 + 2 * factor * a * b)
    assert (size, total, few[0]) == (6, y.sum(), 1)
    return y


def call_small(kernels: ModuleType) -> None:
    assert kernels.double(1.5) == 3.0


def code_files(folder: Path) -> list[Path]:
    return sorted((folder / "__pycache__").glob("*.code"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module with its compiled code, made once because compiling is slow."""
    folder = tmp_path_factory.mktemp("template")
    call(module(folder))
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with the small module and its code."""
    call_small(module(tmp_path, SMALL))
    return tmp_path


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A copy of the module and its code."""
    return shutil.copytree(template, tmp_path, dirs_exist_ok=True)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that were compiled."""
    names: list[str] = []
    original = native.Kernel._compile

    def compile_and_note(self: native.Kernel, *arguments: Any) -> None:
        names.append(self.name)
        original(self, *arguments)

    monkeypatch.setattr(native.Kernel, "_compile", compile_and_note)
    return names


def test_code_is_compiled_once_for_each_combination_of_types(
    folder: Path, compiled: list[str]
) -> None:
    kernels = module(folder)
    for _ in range(2):
        call(kernels)  # compiled before
        call(kernels, 3)
        call(kernels, np.float32(0.5))
        call(kernels, dtype=np.float64)
    assert compiled == ["sums.add"] * 3
    again = module(folder)
    for dtype in (np.float32, np.float64):
        call(again, dtype=dtype)
    assert compiled == ["sums.add"] * 3
    assert len(code_files(folder)) == 4


def test_a_new_process_runs_the_code_without_numba(folder: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(folder)!r})
import numpy as np
import sums
y = np.zeros((1, 2), np.float32)
one = np.ones(2, np.float32)
print(sums.add((one.reshape(1, 2), (one, np.zeros(1, np.int64))), 1.5, y, False))
print("numba" in sys.modules)
"""
    command = [sys.executable, "-c", program]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["(2, 6.0)", "False"]


@pytest.mark.parametrize("damage", ["cut", "changed", "not_json", "empty"])
def test_damaged_code_is_compiled_again(small: Path, compiled: list[str], damage: str) -> None:
    (path,) = code_files(small)
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[:-20],
            "changed": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
            "not_json": b"{" + content,
            "empty": b"",
        }[damage]
    )
    for _ in range(2):
        call_small(module(small, SMALL))
        assert compiled == ["sums.double"]


def test_code_of_another_source_or_processor_is_not_used(
    small: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = code_files(small)
    call_small(module(small, SMALL + "# changed\n"))
    assert compiled == ["sums.double"]
    (after,) = code_files(small)
    assert after != before, "the code of the former source is removed"
    monkeypatch.setattr(llvm, "get_host_cpu_name", lambda: "another")
    native._machine.cache_clear()
    call_small(module(small, SMALL + "# changed\n"))
    monkeypatch.undo()
    native._machine.cache_clear()
    assert len(code_files(small)) == 2


def test_code_that_needs_a_missing_function_is_compiled_again(
    folder: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = code_files(folder)
    code = path.read_bytes().partition(b"\n")[2]
    path.write_bytes(native._written("PPPdPq", "entry", "qd", ["no_such_function"], code))
    call(module(folder))
    assert compiled == ["sums.add"]


def test_code_beside_a_source_in_a_read_only_folder_is_in_the_users_cache(
    tmp_path: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODELING_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "__pycache__").write_text("a file, so no folder can be made")
    for _ in range(2):
        call_small(module(folder, SMALL))
    assert compiled == ["sums.double"]
    assert len(list((tmp_path / "cache/kernels").glob("*.code"))) == 1


def test_an_argument_that_a_kernel_cannot_take_is_an_error(folder: Path) -> None:
    kernels = module(folder)
    a, few = np.ones((2, 3), np.float32), np.zeros(1, np.int64)
    with pytest.raises(TypeError, match="add: an argument of <class 'str'>"):
        kernels.add((a, (a[0], few)), "1", a, True)
    with pytest.raises(TypeError, match="not contiguous"):
        kernels.add((a, (a[0], few)), 1.5, np.ones((3, 2), np.float32).T, True)
    call(kernels)
    with pytest.raises(TypeError, match="not contiguous"):  # also where there is code
        kernels.add((a, (np.ones(6, np.float32)[::2], few)), 1.5, a, True)


def test_threads_that_need_the_same_code_compile_it_once(
    tmp_path: Path, compiled: list[str]
) -> None:
    kernels = module(tmp_path, SMALL)
    threads = [threading.Thread(target=call_small, args=(kernels,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(code_files(tmp_path)) == 1


def test_what_another_process_compiled_in_the_meantime_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels, second = module(tmp_path, SMALL), module(tmp_path, SMALL)
    assert second.double._loaded() == {}
    call_small(kernels)
    monkeypatch.setattr(jit, "compile_kernel", lambda *_: pytest.fail("compiled twice"))
    call_small(second)
    assert len(code_files(tmp_path)) == 1


def test_without_a_lock_the_code_is_compiled(
    tmp_path: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").touch()
    monkeypatch.setenv("CODELING_CACHE", str(tmp_path / "cache"))
    call_small(module(tmp_path / "sources", SMALL))
    assert compiled == ["sums.double"]


def test_a_kernel_runs_without_pythons_lock(tmp_path: Path) -> None:
    @kernel(str(tmp_path / "spin.py"))
    def spin(count: Any) -> Any:
        value = 1
        for _ in range(count):
            value = (value * 6364136223846793005 + 1442695040888963407) ^ (value >> 7)
        return value

    (tmp_path / "spin.py").touch()
    spin(1)
    running, steps = threading.Event(), []
    running.set()

    def count() -> None:
        while running.is_set():
            steps.append(1)
            running.wait(0)
            threading.Event().wait(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    before = len(steps)
    spin(100_000_000)
    during = len(steps) - before
    running.clear()
    thread.join()
    assert during > 10


def test_a_module_with_numba_is_imported_only_to_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "with_numba.py"
    source.write_text("import numba\n\ndef triple(x):\n    return 3 * x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for is_first in (True, False):
        triple = kernel_of("with_numba", "triple", str(source))
        assert "with_numba" not in sys.modules
        assert triple(4) == 12
        assert ("with_numba" in sys.modules) is is_first
        sys.modules.pop("with_numba", None)
