"""The program's process: runs what a model wrote, and performs what the check requests.

Nothing in this process is trusted once the program has started. It holds neither the check nor
the nonce, and its end of the socket carries values only. It must not import the check's side.
"""

import builtins
import errno
import gc
import importlib
import operator
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from codeling.evaluation.sandbox.inside.codec import exceptions
from codeling.evaluation.sandbox.inside.codec.format import CONTAINERS, AsObject
from codeling.evaluation.sandbox.inside.rpc import Link, PeerEnded, Refused
from codeling.evaluation.sandbox.inside.streams import Streams

NAME = "program"
NO_MEMORY_LEFT = errno.ENOMEM
"""Exit code: there was no memory left to report the :class:`MemoryError`."""
STEP_SECONDS = 0.005
"""Maximum wait of one step of an awaitable, so that the check's own event loop advances too."""
_MUTABLE = tuple(CONTAINERS.values())
_OPERATORS = (
    "eq ne lt le gt ge add sub mul matmul truediv floordiv mod pow lshift rshift and_ xor or_ iadd "
    "isub imul imatmul itruediv ifloordiv imod ipow ilshift irshift iand ixor ior neg pos invert"
)
_FUNCTIONS = "len bool str repr dir hash format isinstance issubclass abs round float int complex"
_TYPE_METHODS = {
    "trunc": "__trunc__", "floor": "__floor__", "ceil": "__ceil__", "enter": "__enter__",
    "aiter": "__aiter__",
}  # fmt: skip
_AWAITED = {"aenter": "__aenter__", "aexit": "__aexit__", "anext": "__anext__"}


class Callback:
    """Represents one of the check's functions."""

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call it in the check's process."""
        return self._link.request("call", self, arguments, named)

    def __getattr__(self, name: str) -> Any:
        if name not in ("__name__", "__qualname__", "__doc__"):
            raise AttributeError(name)
        return self._link.request("describe", self, name)


class CheckIterator:
    """Represents one of the check's iterators."""

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number

    def __iter__(self) -> "CheckIterator":
        return self

    def __next__(self) -> Any:
        more, value = self._link.request("next", self)
        if not more:
            raise StopIteration
        return value


class _ProgramSide:
    """The program's end of the link: everything may leave, and nothing is decided."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.operations = operations(names)
        self.streams: Streams | None = None

    def stand_in(self, link: Link, tag: str, number: int) -> Any:
        if tag == "k":
            return None
        return CheckIterator(link, number) if tag == "w" else Callback(link, number)

    def attach(self, link: Link, number: int, value: Any) -> Any:
        return value

    def number_of_theirs(self, value: Any) -> int | None:
        if type(value) in (Callback, CheckIterator):
            return int(value._number)
        return exceptions.number_of_foreign(value)

    def tag(self, value: Any) -> str | None:
        if isinstance(value, type):
            return "k"
        return "w" if isinstance(value, types.CoroutineType) else "h"

    def number_after_value(self, value: Any) -> bool:
        return True

    def unsendable(self, message: str) -> BaseException:
        return TypeError(message)

    def raised_by_check(self, error: BaseException) -> bool:
        return False

    def outgoing(self) -> Any:
        return self.streams.drain() if self.streams else None

    def incoming(self, data: Any) -> None:
        if self.streams:
            self.streams.follow(data)


def operations(names: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """Requests that the check may make: the program's names, and Python's operations on objects."""

    def run(source: str) -> None:
        exec(compile(source, "<program>", "exec", dont_inherit=True), names)  # noqa: S102

    def name(wanted: str) -> Any:
        if wanted not in names:
            raise NameError(f"name {wanted!r} is not defined")
        return names[wanted]

    found: dict[str, Callable[..., Any]] = {
        "run": run,
        "name": name,
        "call": lambda target, arguments, named: target(*arguments, **named),
        "new": _construct,
        "base": lambda target: target,  # a subclass of a container crosses as its base
        "type": type,
        "library": lambda module, name, arguments, named: getattr(
            importlib.import_module(module), name
        )(*arguments, **named),
        "getattr": getattr,
        "setattr": setattr,
        "delattr": delattr,
        "getitem": lambda target, key: target[key],
        "setitem": lambda target, key, value: target.__setitem__(key, value),
        "delitem": operator.delitem,
        "contains": operator.contains,
        "iter": iter,
        "next": lambda target: (
            (True, following) if (following := next(target, names)) is not names else (False, None)
        ),
        "exit": lambda target, error: bool(type(target).__exit__(target, *_error_triple(error))),
        "start": _start,
        "step": _step,
        "cancel": lambda task: task.cancel(),
    }
    for each in _FUNCTIONS.split():
        found[each] = getattr(builtins, each)
    found["index"] = operator.index
    for each in _OPERATORS.split():
        found[each.rstrip("_")] = getattr(operator, each)
    for each, method in _TYPE_METHODS.items():
        found[each] = _type_method(method)
    return found


def _type_method(name: str) -> Callable[..., Any]:
    return lambda target, *operands: getattr(type(target), name)(target, *operands)


def _construct(target: Any, arguments: Any, named: Any) -> Any:
    made = target(*arguments, **named)
    return AsObject(made) if isinstance(made, _MUTABLE) and type(made) not in _MUTABLE else made


def _error_triple(error: BaseException | None) -> tuple[Any, Any, Any]:
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)


def _loop() -> Any:
    """The event loop on which the program's coroutines run; one for the whole job."""
    global _event_loop
    if _event_loop is None:
        _event_loop = importlib.import_module("asyncio").new_event_loop()
    return _event_loop


_event_loop: Any = None


def _start(operation: str, target: Any, *operands: Any) -> Any:
    """A task that awaits ``target``, or what its method returns."""

    async def wait() -> Any:
        if operation == "aexit":
            return await type(target).__aexit__(target, *_error_triple(*operands))
        if operation in _AWAITED:
            return await getattr(type(target), _AWAITED[operation])(target, *operands)
        return await target

    return _loop().create_task(wait())


def _step(task: Any) -> tuple[bool, Any]:
    """Run the event loop for a moment: whether the task is done, and its result."""
    if not task.done():
        waiting = importlib.import_module("asyncio").wait({task}, timeout=STEP_SECONDS)
        _loop().run_until_complete(waiting)
    return (True, task.result()) if task.done() else (False, None)


def serve(fd: int, limit: int) -> None:
    """Perform requests on ``fd`` until the check has ended. Does not return."""
    module = types.ModuleType(NAME)
    sys.modules[NAME] = module
    module.__dict__["__builtins__"] = builtins
    side = _ProgramSide(module.__dict__)
    link = Link(fd, limit, side)
    side.streams = Streams(link.request)
    gc.enable()
    try:
        link.serve_forever()
    except (PeerEnded, Refused, OSError):
        pass
    except MemoryError:  # the error's frames still hold all that the program has allocated
        os._exit(NO_MEMORY_LEFT)
    finally:
        os._exit(0)
