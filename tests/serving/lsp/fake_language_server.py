"""A language server for the tests, whose suggestions repeat what it was asked."""

import asyncio
import os
import socket
import sys
from collections.abc import Sequence

from codeling.memory.spans import SeenSpan
from codeling.provenance.index import Match
from codeling.serving.lsp.completer import Completed
from codeling.serving.lsp.language_server import CodeServer
from codeling.serving.protocol.query import SentFile


class Repeating:
    """Suggests the last two characters before and after the cursor; ``slow`` never ends.

    After ``beside`` it suggests the names and sizes of the other buffers; after ``copied``, lines
    that were seen in two places.
    """

    def __init__(self) -> None:
        self.cancelled = 0

    async def complete(
        self, prefix: str, suffix: str, session: str, files: Sequence[SentFile]
    ) -> Completed:
        if prefix.endswith("beside"):
            return Completed(" ".join(f"{each.path}:{len(each.text)}" for each in files))
        if prefix.endswith("copied"):
            spans = [
                SeenSpan("(one, two)\n", "project", "lib/tools.py", 4, 4, 0.9),
                SeenSpan("    return three", "document", None, 1, 2, 0.5),
            ]
            return Completed("(one, two)\n    return three", spans)
        return Completed(await self._text(prefix, suffix))

    async def _text(self, prefix: str, suffix: str) -> str:
        if prefix.endswith("slow"):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if prefix.endswith("count"):
            return str(self.cancelled)
        if prefix.endswith("two"):
            return "_words + more\n    second line"
        return f"<{prefix[-2:]}|{suffix[:2]}>" if prefix else ""

    def close(self) -> None:
        pass


def trace(text: str, lines: tuple[int, int]) -> list[Match]:
    first, last = lines
    if "known" not in "".join(text.splitlines()[first - 1 : last]):
        return []
    return [Match(first, last, "repo", "a.py", 7, 9, "MIT", "https://example.org", 40, 0.95, 1)]


if __name__ == "__main__":
    # Importing takes longer than a test, so each connection gets a fork of this process.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            connection = listening.accept()[0]
            if child := os.fork():
                connection.close()
                os.waitpid(child, 0)
                continue
            try:
                server = CodeServer(Repeating(), trace, "1").server
                server.start_io(connection.makefile("rb"), connection.makefile("wb"))
            finally:
                os._exit(0)
