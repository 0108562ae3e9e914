"""In the check's process: objects that represent the program's objects.

Each operation on a :class:`Remote` is performed in the program's process. The rules that keep a
program from deciding about itself:

- Two of the program's objects are compared, added and so on by their own methods.
- An object and plain data are never compared by the object's methods. An answer that is not plain
  data is not equal to plain data. Where the check itself has constructed the object and its class
  claims to be equal, the comparison is unjudged.
- Arithmetic of an object with plain data may result in another of the program's objects. Where that
  becomes plain data, as in ``abs(f(3) - 9)``, it is unjudged; the result of ``Vec(1, 2) * 2`` can
  be compared with ``Vec(2, 4)`` and has ``x`` and ``y``.
- A conversion (``float(x)``, ``abs(x)``) has to give the same value each time.
- An instance of a subclass of ``int``, ``str``, ``tuple`` and the like is a value of that base
  with the attributes of the program's object.
"""

from collections.abc import Callable, Generator, Iterator
from typing import Any

from codeling.evaluation.sandbox.inside.codec import exceptions
from codeling.evaluation.sandbox.inside.rpc import Link, PeerEnded, Refused, Unjudged

NUMBERS = (int, float, complex)
_ATTRIBUTES_OF_NUMBERS = {name for kind in NUMBERS for name in dir(kind)}
BY_NUMBER, BY_DATA = 1, 2
"""Levels of ``mixed``: the object results from arithmetic with a number, or with other data."""


FOREIGN_ATTRIBUTES: set[str] = set()
"""Public attributes of numpy's and pandas' types. A :class:`Remote` is of none of those types, so
its own ``equals`` must not decide. Filled where those packages are loaded."""


class Remote:
    """Represents one of the program's objects that does not cross by value."""

    __slots__ = ("_remote_built", "_remote_link", "_remote_mixed", "_remote_number", "_remote_seen")

    def __init__(self, link: Link, number: int) -> None:
        fields = {"link": link, "number": number, "built": False, "mixed": 0, "seen": {}}
        for name, value in fields.items():
            object.__setattr__(self, f"_remote_{name}", value)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call it in the program's process."""
        return request(self, "call", self, arguments, named)

    def __getattr__(self, name: str) -> Any:
        if name in FOREIGN_ATTRIBUTES or (FOREIGN_ATTRIBUTES and name.startswith("_")):
            raise AttributeError(f"the program's object is not of the type that has {name!r}")
        check_readable(self, BY_DATA if name not in _ATTRIBUTES_OF_NUMBERS else BY_NUMBER)
        return request(self, "getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        request(self, "setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        request(self, "delattr", self, name)

    def __getitem__(self, key: Any) -> Any:
        check_readable(self, BY_DATA)
        return request(self, "getitem", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        request(self, "setitem", self, key, value)

    def __delitem__(self, key: Any) -> None:
        request(self, "delitem", self, key)

    def __iter__(self) -> Iterator[Any]:
        check_readable(self)
        iterator = request(self, "iter", self)
        if not isinstance(iterator, Remote):
            raise TypeError("the program's iterator is not an object of its own")
        while True:
            more, value = _pair(request(self, "next", iterator))
            if not more:
                return
            yield value

    def __next__(self) -> Any:
        more, value = _pair(request(self, "next", self))
        if not more:
            raise StopIteration
        return value

    def __contains__(self, wanted: Any) -> bool:
        """Compare here, item by item; a ``__contains__`` without items cannot be judged."""
        try:
            return any(value is wanted or wanted == value for value in self)
        except TypeError:
            found = request(self, "contains", self, wanted) is True
        if found and number_of(wanted) is None:
            raise unjudged(self, "the program's own __contains__ decides")
        return found

    def __len__(self) -> int:
        check_readable(self)
        return int(request(self, "len", self))

    def __bool__(self) -> bool:
        check_readable(self)
        return request(self, "bool", self) is True

    def __hash__(self) -> int:
        return int(request(self, "hash", self))

    def __str__(self) -> str:
        check_readable(self)
        return str(request(self, "str", self))

    def __repr__(self) -> str:
        check_readable(self)
        return str(request(self, "repr", self))

    def __format__(self, form: str) -> str:
        check_readable(self)
        return str(request(self, "format", self, form))

    def __dir__(self) -> list[str]:
        return [str(name) for name in request(self, "dir", self)]

    def __instancecheck__(self, value: Any) -> bool:
        return number_of(value) is not None and request(self, "isinstance", value, self) is True

    def __subclasscheck__(self, kind: Any) -> bool:
        return request(self, "issubclass", kind, self) is True

    def __mro_entries__(self, bases: Any) -> Any:
        raise unjudged(self, "the test derives a class from one of the program's")

    def __enter__(self) -> Any:
        return request(self, "enter", self)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        return _leave(self, error, lambda sent: request(self, "exit", self, sent))

    def __await__(self) -> Generator[None, None, Any]:
        return awaiting(self, "await", self)

    async def __aenter__(self) -> Any:
        return await _Awaitable(self, "aenter", self)

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is None or isinstance(error, PeerEnded | Refused | Unjudged):
            await _Awaitable(self, "aexit", self, None)
            return False
        try:
            answer = await _Awaitable(self, "aexit", self, _as_program_sees_it(error))
        except BaseException as raised:
            return _leave(self, error, _raiser(raised))
        return _leave(self, error, lambda sent: answer)

    def __aiter__(self) -> Any:
        return request(self, "aiter", self)

    def __anext__(self) -> Any:
        return _Awaitable(self, "anext", self)


class RemoteClass(Remote):
    """Represents one of the program's classes; its instances are built by the check."""

    __slots__ = ()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Construct an instance in the program's process."""
        made = request(self, "new", self, arguments, named)
        if isinstance(made, Remote):
            object.__setattr__(made, "_remote_built", True)
        return made


class RemoteCoroutine(Remote):
    """Represents one of the program's coroutines: an event loop here can drive it."""

    __slots__ = ("_remote_steps",)

    def _remote_generator(self) -> Generator[None, None, Any]:
        steps: Generator[None, None, Any]
        try:
            steps = object.__getattribute__(self, "_remote_steps")
        except AttributeError:
            steps = awaiting(self, "await", self)
            object.__setattr__(self, "_remote_steps", steps)
        return steps

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Drive it to its next suspension."""
        return self._remote_generator().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise ``error`` where it is suspended."""
        return self._remote_generator().throw(*error)

    def close(self) -> None:
        """End it."""
        self._remote_generator().close()


class _Awaitable:
    """One asynchronous operation on one of the program's objects."""

    def __init__(self, remote: Remote, operation: str, *operands: Any) -> None:
        self._request = (remote, operation, *operands)

    def __await__(self) -> Generator[None, None, Any]:
        return awaiting(*self._request)


def state(remote: Remote, name: str) -> Any:
    """A field of a :class:`Remote`'s own, not an attribute of the program's object."""
    return object.__getattribute__(remote, f"_remote_{name}")


def number_of(value: Any) -> int | None:
    """The program's number of an object that represents one of its objects, else None."""
    if isinstance(value, Remote):
        return int(state(value, "number"))
    if isinstance(value, exceptions.Foreign | Value):
        value = vars(value).get("_remote")
        return int(state(value, "number")) if isinstance(value, Remote) else None
    return exceptions.number_of_foreign(value)


def request(remote: Remote, operation: str, *operands: Any) -> Any:
    """Have an operation performed in the program's process."""
    link: Link = state(remote, "link")
    result = link.request(operation, *operands)
    if isinstance(result, Remote):
        object.__setattr__(result, "_remote_built", False)
    return result


def request_about(value: Any, operation: str, *operands: Any) -> Any:
    """Request an operation on a program's object, whichever of our classes represents it."""
    represents = value if isinstance(value, Remote) else vars(value)["_remote"]
    return request(represents, operation, *(operands or (value,)))


def unjudged(remote: Remote, reason: str) -> Unjudged:
    """The error that ends the check, also where the check catches everything."""
    link: Link = state(remote, "link")
    link.broken = Unjudged(reason)
    return link.broken


def check_readable(remote: Remote, level: int = BY_NUMBER) -> None:
    """Refuse to read plain data from the result of arithmetic with plain data.

    After arithmetic with numbers, attributes that a number does not have can be read.
    """
    if state(remote, "mixed") >= level:
        raise unjudged(remote, "arithmetic of the program's object with plain data decides")


def _pair(value: Any) -> tuple[bool, Any]:
    if type(value) is not tuple or len(value) != 2:
        raise Refused("an iterator without a result")
    return value[0] is True, value[1]


def awaiting(remote: Remote, operation: str, *operands: Any) -> Generator[None, None, Any]:
    """Run an awaitable on the program's event loop, and this one's meanwhile."""
    task = request(remote, "start", operation, *operands)
    try:
        while True:
            done, value = _pair(request(remote, "step", task))
            if done:
                return value
            yield
    except BaseException as error:
        link: Link = state(remote, "link")
        if link.broken is None and "program_line" not in vars(error):
            link.request("cancel", task)
        raise


def _as_program_sees_it(error: BaseException) -> BaseException:
    """``error`` as the program sees it: of a failed assertion, only the class."""
    return AssertionError() if isinstance(error, AssertionError) else error


def _raiser(error: BaseException) -> Callable[[Any], Any]:
    def call(sent: Any) -> Any:
        raise error

    return call


def _leave(remote: Remote, error: BaseException | None, leave: Callable[[Any], Any]) -> bool:
    """Leave one of the program's contexts; return whether it suppresses ``error``.

    A failed assertion never does. Other exceptions do where the check's text alone raised them,
    as in ``with ignore(ZeroDivisionError): 1 / 0``.
    """
    if error is None:
        leave(None)
        return False
    if isinstance(error, PeerEnded | Refused | Unjudged):
        return False
    link: Link = state(remote, "link")
    try:
        swallowed = leave(_as_program_sees_it(error)) is True
    except (PeerEnded, Refused, Unjudged):
        raise
    except BaseException:
        if isinstance(error, AssertionError):
            return False
        if "program_line" in vars(error) or link.side.raised_by_check(error):
            raise
        raise unjudged(remote, "the program's context manager replaces an exception") from None
    if not swallowed or isinstance(error, AssertionError):
        return False
    if link.side.raised_by_check(error):
        return True
    raise unjudged(remote, "the program's context manager suppresses an exception")


# The docstrings above must not hide those of the program's objects.
for _class in (Remote, RemoteClass, RemoteCoroutine):
    setattr(_class, "__doc__", property(lambda self: request(self, "getattr", self, "__doc__")))  # noqa: B010


class Value:
    """Mixin of the values that also represent one of the program's objects."""

    _remote: Remote

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_remote" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._remote, name)

    def __str__(self) -> str:
        return str(self._remote)

    def __repr__(self) -> str:
        return repr(self._remote)

    def __format__(self, form: str) -> str:
        return format(self._remote, form)


def stand_in(link: Link, tag: str, number: int) -> Remote:
    """The :class:`Remote` for a tag and a number."""
    return {"k": RemoteClass, "w": RemoteCoroutine}.get(tag, Remote)(link, number)
