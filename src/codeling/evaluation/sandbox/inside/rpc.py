"""Requests and responses between the check's process and the program's, over one socket.

Either side may send a request while it waits for a response: that is how a function that the check
passes to the program is called. Each side knows the other's objects by number alone, and performs
on its own objects what its table of operations allows.

This module must not know what the operations are, nor which side is trusted.
"""

import struct
from collections.abc import Callable
from os import read, write
from typing import Any, Protocol

from codeling.evaluation.sandbox.inside.codec import exceptions
from codeling.evaluation.sandbox.inside.codec.decoder import Decoder
from codeling.evaluation.sandbox.inside.codec.encoder import ValueEncoder
from codeling.evaluation.sandbox.inside.codec.value_types import CodecError

_HEADER = struct.Struct("<IB")
REQUEST, RESPONSE, ERROR, UNSENDABLE = 0, 1, 2, 3


class PeerEnded(BaseException):
    """The other side's process has ended. A check's ``except Exception`` does not catch it."""


class Refused(BaseException):
    """The message is too large, or is not a value."""


class Unjudged(BaseException):
    """The check needs an object, or a decision, that cannot cross the process boundary safely."""


class Side(Protocol):
    """Differences between the check's end of a :class:`Link` and the program's."""

    operations: dict[str, Callable[..., Any]]
    """Operations that the other side may request."""

    def stand_in(self, link: "Link", tag: str, number: int) -> Any:
        """An object that represents the other side's object ``number``."""

    def attach(self, link: "Link", number: int, value: Any) -> Any:
        """``value`` as the representative of the other side's object ``number``."""

    def number_of_theirs(self, value: Any) -> int | None:
        """The number of an object of the other side; None for any other object."""

    def tag(self, value: Any) -> str | None:
        """The tag of one of our objects; None where it may not cross."""

    def number_after_value(self, value: Any) -> bool:
        """Whether a number follows the value of an instance of a subclass."""

    def unsendable(self, message: str) -> BaseException:
        """Take note that a value cannot cross; the exception for it."""

    def raised_by_check(self, error: BaseException) -> bool:
        """Whether ``error`` depends on the text of the check alone."""

    def outgoing(self) -> Any:
        """Data that accompanies each message: the state of the standard streams, or their text."""

    def incoming(self, data: Any) -> None:
        """Take the data that accompanied a message."""


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``."""
    view = memoryview(data)
    while view:
        view = view[write(fd, view) :]


def read_exactly(fd: int, count: int) -> bytes:
    """Read ``count`` bytes.

    :raises PeerEnded: at the end of the stream.
    """
    parts = []
    while count:
        part = read(fd, min(count, 1 << 20))
        if not part:
            raise PeerEnded
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class Link:
    """One end of the socket ``fd``; messages of more than ``limit`` bytes are refused."""

    def __init__(self, fd: int, limit: int, side: Side) -> None:
        self._fd = fd
        self._limit = limit
        self.side = side
        self._ours: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._theirs: dict[int, Any] = {}
        self._classes: dict[int, type] = {}
        self.broken: BaseException | None = None

    def request(self, operation: str, *operands: Any) -> Any:
        """Request an operation of the other side, and wait for its result.

        :raises PeerEnded: the other side ended before it responded.
        :raises Refused: its response is not valid.
        :raises Unjudged: the operands cannot cross.
        :raises BaseException: the exception that the operation raised.
        """
        if self.broken is not None:
            raise self.broken
        question = ValueEncoder(self)
        try:
            question.encode((operation, operands, self.side.outgoing()))
        except CodecError as error:
            raise self._unsendable(str(error)) from None
        try:
            self._send(REQUEST, question.data)
            return self._wait(question)
        except (PeerEnded, Refused) as error:
            self.broken = error
            raise
        except (BrokenPipeError, ConnectionResetError):
            self.broken = PeerEnded()
            raise self.broken from None

    def _unsendable(self, message: str) -> BaseException:
        error = self.side.unsendable(message)
        if isinstance(error, Unjudged):
            self.broken = error
        return error

    def _wait(self, question: ValueEncoder) -> Any:
        while True:
            kind, data = self._receive()
            if kind == REQUEST:
                self._serve(data)
                continue
            value = self._decoded(data, question.containers)
            if type(value) is not tuple or len(value) != 3:
                raise Refused("a response of no known form")
            if kind == UNSENDABLE:
                raise self._unsendable(str(value[0])[:200])
            self.side.incoming(value[2])
            if kind == RESPONSE:
                return value[0]
            if kind == ERROR and isinstance(value[0], BaseException):
                value[0].__dict__["program_line"] = str(value[1])[:100]
                raise value[0]
            raise Refused("a response of no known form")

    def serve_forever(self) -> None:
        """Respond to requests until the other side ends.

        :raises PeerEnded: it has ended.
        """
        while True:
            kind, data = self._receive()
            if kind != REQUEST:
                raise Refused("a response without a request")
            self._serve(data)

    def _serve(self, data: bytes) -> None:
        decoder = Decoder(data, self)
        try:
            operation, operands, accompanying = decoder.decode()
        except (CodecError, TypeError, ValueError) as error:
            raise Refused(str(error)) from None
        if operation not in self.side.operations:
            raise Refused(f"no operation is named {operation!r}")
        before = bytes(ValueEncoder(self).encode((operation, operands)).data)
        self.side.incoming(accompanying)
        try:
            value = self.side.operations[operation](*operands)
            self._send(*self._answer(value, decoder.containers, (operation, operands), before))
        except (PeerEnded, Refused):
            raise
        except BaseException as error:  # whatever the code of the other party raises
            self._send(ERROR, self._error(error))

    def _answer(
        self, value: Any, containers: list[Any], question: Any, before: bytes
    ) -> tuple[int, bytes]:
        """The result, and the question's containers where the operation has changed them."""
        answer = ValueEncoder(self, containers)
        try:
            unchanged = ValueEncoder(self).encode(question).data == before
            answer.encode((value, None if unchanged else containers, self.side.outgoing()))
        except CodecError as error:
            self.side.unsendable(str(error))
            return UNSENDABLE, bytes(ValueEncoder(self).encode((str(error), None, None)).data)
        return RESPONSE, bytes(answer.data)

    def _error(self, error: BaseException) -> bytes:
        place = exceptions.program_line(error)
        try:
            return bytes(ValueEncoder(self).encode((error, place, self.side.outgoing())).data)
        except CodecError:
            plain = RuntimeError(f"{type(error).__name__}: {exceptions.text_of(error)}")
            return bytes(ValueEncoder(self).encode((plain, place, None)).data)

    def _decoded(self, data: bytes, known: list[Any]) -> Any:
        try:
            return Decoder(data, self, known).decode()
        except CodecError as error:
            raise Refused(str(error)) from None

    def number_of_theirs(self, value: Any) -> int | None:
        """The number of an object of the other side; None for any other object."""
        return self.side.number_of_theirs(value)

    def number(self, value: Any) -> tuple[str, int]:
        """Tag and number of one of our objects, which is kept from then on."""
        tag = self.side.tag(value)
        if tag is None:
            raise CodecError(f"a {type(value).__name__} cannot cross")
        number = self._numbers.setdefault(id(value), len(self._ours))
        if number == len(self._ours):
            self._ours.append(value)
        return tag, number

    def number_after_value(self, value: Any) -> int | None:
        """The number that follows the value of an instance of a subclass, or None."""
        return self.number(value)[1] if self.side.number_after_value(value) else None

    def resolve(self, tag: str, number: int) -> Any:
        """The object of a tag and a number."""
        if tag == "H":
            return self._ours[number]
        if number not in self._theirs:
            self._theirs[number] = self.side.stand_in(self, tag, number)
        return self._theirs[number]

    def attach(self, number: int, value: Any) -> Any:
        """``value`` as the representative of the other side's object ``number``."""
        return self.side.attach(self, number, value)

    def exception_class(self, number: int, name: str, bases: tuple[Any, ...]) -> type:
        """The class that represents the other side's exception class ``number``."""
        if number not in self._classes:
            remote = self.side.stand_in(self, "k", number)
            self._classes[number] = exceptions.foreign_class(name, bases, number, remote)
        return self._classes[number]

    def _send(self, kind: int, data: bytes | bytearray) -> None:
        write_all(self._fd, _HEADER.pack(len(data), kind) + data)

    def _receive(self) -> tuple[int, bytes]:
        try:
            size, kind = _HEADER.unpack(read_exactly(self._fd, _HEADER.size))
            if size > self._limit:
                raise Refused(f"a message of {size} bytes; at most {self._limit} are allowed")
            return kind, read_exactly(self._fd, size)
        except ConnectionResetError:
            raise PeerEnded from None
