"""Questions and answers between the check's process and the program's, over one socket.

Either side may ask while it waits for an answer: a function that the check hands to the program
is called this way. Each side knows the other's objects by number alone, and does with its own
what its table of operations allows.

It must not know what the operations are, nor which side is trusted.
"""

import struct
from collections.abc import Callable
from os import read, write
from typing import Any

from codeling.evaluation.sandbox.inside.codec import Decoder, Encoder
from codeling.evaluation.sandbox.inside.value_types import WireError, exception

_HEADER = struct.Struct("<IB")
QUESTION, ANSWER, ERROR = 0, 1, 2
_MAX_TEXT = 2_000  # of an exception


class Gone(BaseException):
    """The other side's process has ended. Nothing that a check catches by ``Exception``."""


class Refused(BaseException):
    """What came is too large, or no value."""


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``."""
    view = memoryview(data)
    while view:
        view = view[write(fd, view) :]


def read_exactly(fd: int, count: int) -> bytes:
    """Read ``count`` bytes.

    :raises Gone: at the end of the stream.
    """
    parts = []
    while count:
        part = read(fd, min(count, 1 << 20))
        if not part:
            raise Gone
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class Link:
    """One end of the socket ``fd``.

    ``operations`` is what the other side may ask for; ``stand_in`` makes an object that stands
    for one of theirs from its number; ``number_of_theirs`` is its reverse, None for any other
    object; ``may_leave`` says whether one of ours may be given a number.
    """

    def __init__(
        self,
        fd: int,
        limit: int,
        operations: dict[str, Callable[..., Any]],
        stand_in: Callable[["Link", int], Any],
        number_of_theirs: Callable[[Any], int | None],
        may_leave: Callable[[Any], bool],
    ) -> None:
        self._fd = fd
        self._limit = limit
        self._operations = operations
        self._stand_in = stand_in
        self._number_of_theirs = number_of_theirs
        self._may_leave = may_leave
        self._ours: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._theirs: dict[int, Any] = {}
        self.broken: BaseException | None = None

    def ask(self, operation: str, *operands: Any) -> Any:
        """Ask for an operation on the other side.

        :raises Gone: when the other side ends before it has answered.
        :raises Refused: when its answer is none.
        :raises BaseException: the builtin exception that the operation ended in.
        """
        if self.broken is not None:
            raise self.broken
        question = Encoder(self._number)
        try:
            question.encode((operation, operands))
        except WireError as error:
            raise TypeError(str(error)) from None
        try:
            self._send(QUESTION, question.data)
            return self._wait(question)
        except (Gone, Refused) as error:
            self.broken = error
            raise
        except (BrokenPipeError, ConnectionResetError):
            self.broken = Gone()
            raise self.broken from None

    def _wait(self, question: Encoder) -> Any:
        while True:
            kind, data = self._receive()
            if kind == QUESTION:
                self._serve(data)
                continue
            value = self._decoded(data, question.containers)
            if kind == ANSWER and type(value) is tuple and len(value) == 2:
                return value[0]
            if kind == ERROR and type(value) is tuple and len(value) == 3:
                raise self._raised(*value)
            raise Refused("an answer of no kind")

    def _raised(self, name: Any, text: Any, where: Any) -> BaseException:
        try:
            error = exception(str(name), str(text)[:_MAX_TEXT])
        except WireError as problem:
            raise Refused(str(problem)) from None
        error.where = str(where)[:100]  # type: ignore[attr-defined]
        return error

    def serve_forever(self) -> None:
        """Answer questions until the other side ends.

        :raises Gone: when it has.
        """
        while True:
            kind, data = self._receive()
            if kind != QUESTION:
                raise Refused("an answer without a question")
            self._serve(data)

    def _serve(self, data: bytes) -> None:
        decoder = Decoder(data, self._object)
        try:
            operation, operands = decoder.decode()
        except (WireError, TypeError, ValueError) as error:
            raise Refused(str(error)) from None
        if operation not in self._operations:
            raise Refused(f"no operation is called {operation!r}")
        before = bytes(Encoder(self._number).encode((operation, operands)).data)
        try:
            value = self._operations[operation](*operands)
            answer = Encoder(self._number, decoder.containers)
            unchanged = Encoder(self._number).encode((operation, operands)).data == before
            answer.encode((value, None if unchanged else decoder.containers))
            self._send(ANSWER, answer.data)
        except (Gone, Refused):
            raise
        except BaseException as error:  # whatever the code of the other party raises
            self._send(ERROR, Encoder(self._number).encode(describe(error)).data)

    def _decoded(self, data: bytes, known: list[Any]) -> Any:
        try:
            return Decoder(data, self._object, known).decode()
        except WireError as error:
            raise Refused(str(error)) from None

    def _number(self, value: Any) -> tuple[str, int]:
        theirs = self._number_of_theirs(value)
        if theirs is not None:
            return "H", theirs
        if not self._may_leave(value):
            raise WireError(f"a {type(value).__name__} cannot cross")
        number = self._numbers.setdefault(id(value), len(self._ours))
        if number == len(self._ours):
            self._ours.append(value)
        return "h", number

    def _object(self, tag: str, number: int) -> Any:
        if tag == "H":
            return self._ours[number]
        if number not in self._theirs:
            self._theirs[number] = self._stand_in(self, number)
        return self._theirs[number]

    def _send(self, kind: int, data: bytes | bytearray) -> None:
        write_all(self._fd, _HEADER.pack(len(data), kind) + data)

    def _receive(self) -> tuple[int, bytes]:
        try:
            size, kind = _HEADER.unpack(read_exactly(self._fd, _HEADER.size))
            if size > self._limit:
                raise Refused(f"an answer of {size} bytes; {self._limit} are allowed")
            return kind, read_exactly(self._fd, size)
        except ConnectionResetError:
            raise Gone from None


def describe(error: BaseException) -> tuple[str, str, str]:
    """The name of the builtin exception that ``error`` is, its text, and where it was raised."""
    kind = next(base for base in type(error).__mro__ if base.__module__ == "builtins")
    try:
        text = str(error)[:_MAX_TEXT]
    except Exception:
        text = ""
    if kind is not type(error):
        text = f"{type(error).__name__}: {text}"
    place = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<program>":
            place = f"program line {trace.tb_lineno}"
        trace = trace.tb_next
    return kind.__name__, text, place
