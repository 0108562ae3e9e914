"""Kernels: functions of numpy arrays as machine code, compiled once and kept on disk.

numba compiles a :class:`Kernel` when there is no code for the types of its arguments. After that,
llvmlite loads the code, which takes milliseconds; numba is imported only to compile. Code on disk
is used only if the sources, the processor, Python, numpy, numba and llvmlite are those that it was
made with, and its SHA-256 is right.

A kernel allocates nothing. Its arguments are C-contiguous arrays, numbers, and tuples of them; its
result is None, a number or a tuple of numbers. Calls run without Python's lock. This module must
not know what is computed.
"""

import ctypes
import hashlib
import importlib.util
import json
import os
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from codeling.arrays.user_cache import user_cache_folder

_KINDS: dict[type, str] = {
    np.ndarray: "P",
    int: "q",
    bool: "q",
    np.int64: "q",
    np.int32: "q",
    float: "d",
    np.float64: "d",
    np.float32: "f",
}
"""Formats of an argument's slot, as in :mod:`struct`; P is the address of an array."""
_FORMATS = {"P": "q", "q": "q", "d": "d", "f": "f4x"}
_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)

_WAIT_SECONDS = 60
"""Longest wait for another process that compiles the same kernel, which takes a few seconds."""

_lock = threading.RLock()
_engines: list[Any] = []
"""The owners of the loaded code; they are never freed."""


class _Code(NamedTuple):
    """Loaded code for one combination of types."""

    call: Callable[[int, int, int], int]
    slots: struct.Struct
    results: struct.Struct
    buffer: Any
    """ctypes type: the slots, then the outcome and a place for numba's exceptions."""


class Kernel:
    """A function whose code for each combination of argument types is compiled once."""

    def __init__(
        self, name: str, find: Callable[[], Any], sources: Sequence[str], fastmath: Any = False
    ) -> None:
        """``find`` returns the function, in Python or from :func:`codeling.arrays.jit.jitted`, and
        is called only to compile. ``sources`` are the files that its code depends on, its own
        first; ``fastmath`` is numba's."""
        self.name = name
        self._find = find
        self._sources = sources
        self._fastmath = fastmath
        self._codes: dict[str, list[_Code]] | None = None
        self._jitted: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """Run the kernel.

        :raises TypeError: an argument has no supported type, or an array is not contiguous.
        """
        letters: list[str] = []
        values: list[Any] = []
        try:
            _scan(arguments, letters, values)
        except KeyError as error:
            raise TypeError(f"{self.name}: an argument of {error.args[0]}") from None
        kinds = "".join(letters)
        codes = (self._loaded() if self._codes is None else self._codes).get(kinds, [])
        for code in codes:
            buffer = code.buffer()
            code.slots.pack_into(buffer, 0, *values)
            address = ctypes.addressof(buffer)
            outcome = address + code.slots.size
            status = code.call(outcome, outcome + 8, address)
            assert status == 0, f"{self.name} raised an exception"
            if not int.from_bytes(buffer[-16:-8], sys.byteorder):
                found = code.results.unpack_from(buffer)
                return found if len(found) > 1 else found[0] if found else None
        self._compile(arguments, kinds, len(codes))
        return self(*arguments)

    @property
    def jitted(self) -> Any:
        """The function as numba compiles it."""
        if self._jitted is None:
            from numba.core.dispatcher import Dispatcher

            from codeling.arrays.jit import jitted

            function = self._find()
            is_compiled = isinstance(function, Dispatcher)
            self._jitted = function if is_compiled else jitted(function, self._fastmath)
        return self._jitted

    @property
    def _numba_type_(self) -> Any:
        """Lets compiled functions call this one."""
        from numba import types

        return types.Dispatcher(self.jitted)

    def _loaded(self) -> dict[str, list[_Code]]:
        """The code that this process has; first that found on disk."""
        with _lock:
            if self._codes is None:
                self._codes = self._found()
            return self._codes

    def _found(self) -> dict[str, list[_Code]]:
        """The code on disk."""
        codes: dict[str, list[_Code]] = {}
        for folder in self._folders():
            for path in sorted(folder.glob(f"{self._stem}-*.code")):
                with suppress(OSError, ValueError, KeyError, TypeError):  # damaged
                    known, code = _read(path.read_bytes())
                    codes.setdefault(known, []).append(code)
        return codes

    @property
    def _stem(self) -> str:
        """Prefix of the names of the code's files."""
        return f"{self.name}-{_digest(*self._sources)}-{_machine()}"

    def _folders(self) -> list[Path]:
        """Folders that keep code: beside the source, or in the user's cache folder."""
        return [Path(self._sources[0]).parent / "__pycache__", user_cache_folder("kernels")]

    def _compile(self, arguments: tuple[Any, ...], kinds: str, num_known: int) -> None:
        """Compile for the types of ``arguments`` and save, unless another thread has done it."""
        leaves = _flat(arguments)
        for leaf in leaves:
            is_array = isinstance(leaf, np.ndarray)
            if is_array and not (leaf.flags.c_contiguous and leaf.flags.aligned):
                raise TypeError(f"{self.name}: an array that is not contiguous and aligned")
        with _lock, _one_process(self.name):
            codes = self._loaded().setdefault(kinds, [])
            found = self._found().get(kinds, [])
            if len(found) > len(codes):  # another process has compiled it in the meantime
                codes[:] = found
            if len(codes) > num_known:
                return
            from codeling.arrays.jit import compile_kernel

            content = _written(kinds, *compile_kernel(self.jitted, arguments))
            codes.append(_read(content)[1])
            name = f"{self._stem}-{hashlib.sha256(content).hexdigest()[:8]}.code"
            for folder in self._folders():
                with suppress(OSError):
                    _save(folder / name, content)
                    _remove_old(folder, self.name, self._stem)
                    return


def kernel(*sources: str, fastmath: Any = False) -> Callable[[Callable[..., Any]], Kernel]:
    """Make a function of a module without numba a kernel. ``sources`` are the files that its code
    depends on, its own first."""

    def decorate(function: Callable[..., Any]) -> Kernel:
        name = f"{Path(sources[0]).stem}.{function.__name__}"
        return Kernel(name, lambda: function, sources, fastmath)

    return decorate


def kernel_of(module: str, name: str, *sources: str) -> Kernel:
    """The kernel ``name`` of a module that imports numba; it is imported only to compile."""
    return Kernel(
        f"{module.rpartition('.')[2]}.{name}", lambda: getattr(import_module(module), name), sources
    )


def _scan(arguments: tuple[Any, ...], letters: list[str], values: list[Any]) -> None:
    """Append the kind and the content of the slot of each argument, tuples flattened.

    :raises KeyError: an argument has another type.
    """
    for argument in arguments:
        kind = type(argument)
        if kind is np.ndarray:
            letters.append("P")
            values.append(id(argument))
        elif isinstance(argument, tuple):
            _scan(argument, letters, values)
        else:
            letters.append(_KINDS[kind])
            values.append(argument)


def _flat(arguments: tuple[Any, ...]) -> list[Any]:
    """The arguments without tuples around them."""
    leaves: list[Any] = []
    for argument in arguments:
        if isinstance(argument, tuple):
            leaves += _flat(argument)
        else:
            leaves.append(argument)
    return leaves


@contextmanager
def _one_process(name: str) -> Iterator[None]:
    """Wait while another process compiles the kernel ``name``, at most :data:`_WAIT_SECONDS`."""
    from filelock import FileLock

    folder = user_cache_folder("kernels")
    with ExitStack() as stack:
        with suppress(OSError, NotImplementedError):  # without a lock, both compile
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder / f"{name}.lock", timeout=_WAIT_SECONDS))
        yield


@cache
def _digest(*sources: str) -> str:
    """Digest of the sources of a kernel and of the compiler."""
    compiler = Path(__file__).with_name("jit.py")
    digest = hashlib.sha256()
    for path in (*map(Path, sources), Path(__file__), compiler):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


@cache
def _machine() -> str:
    """Digest of the processor and of the versions that code depends on."""
    numba = importlib.util.find_spec("numba")
    assert numba is not None
    parts = [
        Path(str(numba.origin)).with_name("_version.py").read_text(),
        llvmlite.__version__,
        np.__version__,
        sys.version,
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_")),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _written(kinds: str, entry: str, results: str, symbols: list[str], code: bytes) -> bytes:
    """The content of a file: one line of JSON, and an object file."""
    header = {"kinds": kinds, "entry": entry, "results": results, "symbols": symbols}
    header["sha256"] = hashlib.sha256(json.dumps(header).encode() + code).hexdigest()
    return json.dumps(header).encode() + b"\n" + code


def _read(content: bytes) -> tuple[str, _Code]:
    """Load the code of a file: the kinds of its arguments, and how it is called.

    :raises ValueError, KeyError, TypeError: the file is damaged, or a function that it needs is
        missing.
    """
    first, _, code = content.partition(b"\n")
    header = json.loads(first)
    sha256 = header.pop("sha256")
    if hashlib.sha256(json.dumps(header).encode() + code).hexdigest() != sha256:
        raise ValueError("the file is damaged")
    for symbol in header["symbols"]:
        llvm.add_symbol(symbol, _address(symbol))
    with _lock:
        engine = _new_engine()
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        _engines.append(engine)
    slots = struct.Struct("=" + "".join(_FORMATS[kind] for kind in header["kinds"]))
    results = struct.Struct("=" + header["results"])
    size = max(slots.size, results.size)
    slots = struct.Struct(f"{slots.format}{size - slots.size}x")
    call = _ENTRY(engine.get_function_address(header["entry"]))
    return header["kinds"], _Code(call, slots, results, ctypes.c_char * (size + 16))


def _new_engine() -> Any:
    """An owner of loaded code."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault")
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)


def _address(symbol: str) -> int:
    """Address of a function that numba added, or of the C library.

    :raises ValueError: there is none.
    """
    if known := llvm.address_of_symbol(symbol):
        return int(known)
    try:
        library = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
        function = getattr(library, symbol)
    except (AttributeError, OSError, TypeError) as error:
        raise ValueError(f"no function {symbol}") from error
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(partial).chmod(0o644)  # another user may run what this one installed
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _remove_old(folder: Path, name: str, stem: str) -> None:
    """Remove the code of other sources."""
    kept = stem.rpartition("-")[0]
    for path in folder.glob(f"{name}-*.code"):
        if not path.name.startswith(kept):
            path.unlink(missing_ok=True)
