"""The language server, as a process that a client of pygls talks to."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pygls.lsp.client import LanguageClient

from codeling.serving.lsp.language_server import (
    ACCEPT_LINE,
    ACCEPT_WORD,
    SOURCES,
    as_snippet,
    next_line,
    next_word,
)

SERVER = Path(__file__).with_name("fake_language_server.py")
URI = "file:///tmp/a.py"


class Editor:
    """A client with one open document."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.edits: list[types.TextEdit] = []
        self.messages: list[str] = []
        client.feature(types.WORKSPACE_APPLY_EDIT)(partial(self._apply))
        client.feature(types.WINDOW_SHOW_MESSAGE)(partial(self._show))

    def _apply(self, params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
        changes = params.edit.changes or {}
        self.edits += changes[URI]
        return types.ApplyWorkspaceEditResult(applied=True)

    def _show(self, params: types.ShowMessageParams) -> None:
        self.messages.append(params.message)

    def open(self, text: str, uri: str = URI, language: str = "python") -> None:
        document = types.TextDocumentItem(uri, language, 1, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(document))

    def change(self, line: int, begin: int, end: int, text: str) -> None:
        where = types.Range(types.Position(line, begin), types.Position(line, end))
        change = types.TextDocumentContentChangePartial(range=where, text=text)
        document = types.VersionedTextDocumentIdentifier(2, URI)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))

    async def inline(self, line: int, character: int) -> list[types.InlineCompletionItem]:
        answer = await self.client.text_document_inline_completion_async(
            types.InlineCompletionParams(
                context=types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic),
                text_document=types.TextDocumentIdentifier(URI),
                position=types.Position(line, character),
            )
        )
        return list(answer.items)

    async def execute(self, command: str, *arguments: Any) -> Any:
        return await self.client.workspace_execute_command_async(
            types.ExecuteCommandParams(command, list(arguments))
        )


Edited = Callable[..., None]


@pytest.fixture(scope="module")
def edited() -> Iterator[Edited]:
    """A function that runs a scenario with a server that is initialized, and shuts it down."""
    command = [sys.executable, str(SERVER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield partial(_edited, int(process.stdout.readline()))
        process.kill()


def _edited(
    port: int,
    scenario: Callable[[Editor, types.InitializeResult], Awaitable[None]],
    encodings: list[str] | None = None,
) -> None:
    async def main() -> None:
        client: Any = LanguageClient("tests", "1")
        editor = Editor(client)
        await client.start_tcp("127.0.0.1", port)
        general = types.GeneralClientCapabilities(position_encodings=encodings)
        result = await client.initialize_async(
            types.InitializeParams(capabilities=types.ClientCapabilities(general=general))
        )
        client.initialized(types.InitializedParams())
        try:
            await asyncio.wait_for(scenario(editor, result), 20)
        finally:
            await client.shutdown_async(None)
            client.exit(None)
            with suppress(Exception):
                await client.stop()

    asyncio.run(main())


def test_ghost_text_is_announced_and_has_a_range(edited: Edited) -> None:
    async def scenario(editor: Editor, result: types.InitializeResult) -> None:
        assert result.capabilities.inline_completion_provider == types.InlineCompletionOptions()
        assert result.capabilities.completion_provider is not None
        editor.open("x = 1\ny = 2\n")
        (item,) = await editor.inline(1, 3)
        assert item.insert_text == "< =| 2>"
        here = types.Position(1, 3)
        assert item.range == types.Range(here, here)
        assert await editor.inline(0, 0) == []

    edited(scenario)


def test_a_suggestion_stays_while_typed_and_another_letter_asks_again(edited: Edited) -> None:
    async def scenario(editor: Editor, result: types.InitializeResult) -> None:
        editor.open("x = 1\ny = 2\n")
        (item,) = await editor.inline(1, 3)
        text = item.insert_text
        assert isinstance(text, str)
        for length in range(1, len(text)):
            editor.change(1, 2 + length, 2 + length, text[length - 1])
            (item,) = await editor.inline(1, 3 + length)
            assert item.insert_text == text[length:]
        editor.change(1, 2 + len(text), 2 + len(text), "z")
        (item,) = await editor.inline(1, 3 + len(text))
        assert item.insert_text == "<2z| 2>"

    edited(scenario)


@pytest.mark.parametrize("encodings, character", [(["utf-8"], 8), (None, 5)])
def test_columns_count_the_agreed_units_and_changes_come_in_pieces(
    edited: Edited, encodings: list[str] | None, character: int
) -> None:
    async def scenario(editor: Editor, result: types.InitializeResult) -> None:
        assert result.capabilities.position_encoding == (encodings or ["utf-16"])[0]
        editor.open("x\n'é😀' + y\n")
        assert (await editor.inline(1, character))[0].insert_text == "<😀'| +>"
        editor.change(1, character, character, "z")
        assert (await editor.inline(1, character + 1))[0].insert_text == "<'z| +>"

    edited(scenario, encodings)


def test_clients_without_ghost_text_get_a_completion_item(edited: Edited) -> None:
    async def scenario(editor: Editor, result: types.InitializeResult) -> None:
        editor.open("é = two\n")
        answer = await editor.client.text_document_completion_async(
            types.CompletionParams(types.TextDocumentIdentifier(URI), types.Position(0, 7))
        )
        assert answer.is_incomplete
        (item,) = answer.items
        assert item.label == "two_words + more …"
        where = types.Range(types.Position(0, 4), types.Position(0, 7))
        assert item.text_edit == types.TextEdit(where, "two_words + more\n    second line")
        assert item.filter_text.startswith("two")

    edited(scenario)


def test_a_cancelled_request_ends_its_work(edited: Edited) -> None:
    async def scenario(editor: Editor, result: types.InitializeResult) -> None:
        editor.open("slow\ncount\n")
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(types.InlineCompletionTriggerKind.Invoked),
            text_document=types.TextDocumentIdentifier(URI),
            position=types.Position(0, 4),
        )
        future = editor.client.protocol.send_request(
            types.TEXT_DOCUMENT_INLINE_COMPLETION, params, msg_id="first"
        )
        await asyncio.sleep(0.1)
        editor.client.cancel_request(types.CancelParams("first"))
        with suppress(Exception):
            await asyncio.wait_for(asyncio.wrap_future(future), 5)
        (item,) = await editor.inline(1, 5)
        assert item.insert_text == "1"

    edited(scenario)


def test_a_word_and_then_a_line_are_accepted(edited: Edited) -> None:
    async def scenario(editor: Editor, result: types.InitializeResult) -> None:
        editor.open("two\n")
        assert not await editor.execute(ACCEPT_WORD)
        await editor.inline(0, 3)
        assert await editor.execute(ACCEPT_WORD)
        assert await editor.execute(ACCEPT_LINE)
        assert await editor.execute(ACCEPT_LINE)
        assert not await editor.execute(ACCEPT_LINE)
        texts = [edit.new_text for edit in editor.edits]
        assert texts == ["_words", " + more", "\n    second line"]
        starts = [(edit.range.start.line, edit.range.start.character) for edit in editor.edits]
        assert starts == [(0, 3), (0, 9), (0, 16)]

    edited(scenario)


def test_sources_are_shown_on_hover_and_by_a_code_action(edited: Edited) -> None:
    async def scenario(editor: Editor, result: types.InitializeResult) -> None:
        editor.open("known = 1\nother = 2\n")
        document = types.TextDocumentIdentifier(URI)
        expected = "- [repo a.py:7-9](https://example.org) (MIT, 95% equal)"
        hover = await editor.client.text_document_hover_async(
            types.HoverParams(document, types.Position(0, 1))
        )
        assert hover.contents.value == expected
        assert not await editor.client.text_document_hover_async(
            types.HoverParams(document, types.Position(1, 1))
        )
        lines = types.Range(types.Position(0, 0), types.Position(1, 0))
        (action,) = await editor.client.text_document_code_action_async(
            types.CodeActionParams(document, lines, types.CodeActionContext([]))
        )
        assert action.command == SOURCES
        assert await editor.execute(SOURCES, *action.arguments) == expected
        assert editor.messages == [expected]

    edited(scenario)


def test_the_other_open_python_buffers_are_sent_as_they_are(edited: Edited) -> None:
    async def scenario(editor: Editor, result: types.InitializeResult) -> None:
        editor.open("new = 1\n", "file:///tmp/project/new.py")
        editor.open("# notes", "file:///tmp/project/notes.md", "markdown")
        editor.open("", "untitled:Untitled-1")
        editor.open("x = beside\n")
        (item,) = await editor.inline(0, 10)
        assert item.insert_text == "new.py:8 Untitled-1:0"
        document = types.TextDocumentIdentifier("file:///tmp/project/new.py")
        editor.client.text_document_did_close(types.DidCloseTextDocumentParams(document))
        editor.change(0, 10, 10, "\ny = beside")
        (item,) = await editor.inline(1, 10)
        assert item.insert_text == "Untitled-1:0"

    edited(scenario)


def test_text_that_the_memory_copied_is_named_with_path_and_lines(edited: Edited) -> None:
    async def scenario(editor: Editor, result: types.InitializeResult) -> None:
        editor.open("copied\n")
        assert await editor.inline(0, 6)
        document = types.TextDocumentIdentifier(URI)
        assert not await editor.client.text_document_hover_async(
            types.HoverParams(document, types.Position(0, 1))
        )
        editor.change(0, 6, 6, "(one, two)\n    return three\nknown")
        project = "- lib/tools.py:4 (project, 90% of the probability)"
        here = "- this file:1-2 (open file, 50% of the probability)"
        for line, expected in ((0, project), (1, here)):
            hover = await editor.client.text_document_hover_async(
                types.HoverParams(document, types.Position(line, 1))
            )
            assert hover.contents.value == expected
        found = await editor.execute(SOURCES, URI, 1, 3)
        assert found.splitlines()[:2] == [project, here]
        assert found.splitlines()[2].startswith("- [repo a.py:7-9]")
        nowhere = "not found in this file or those beside it or the training data"
        assert await editor.execute(SOURCES, URI, 4, 4) == nowhere

    edited(scenario)


@pytest.mark.parametrize(
    "text, word, line",
    [
        ("foo(bar)\nbaz", "foo", "foo(bar)"),
        (" = x", " =", " = x"),
        ("\n    return 1\nx", "\n    return", "\n    return 1"),
        ("(", "(", "("),
        ("été_1.x", "été_1", "été_1.x"),
    ],
)
def test_words_and_lines(text: str, word: str, line: str) -> None:
    assert next_word(text) == word
    assert next_line(text) == line


def test_a_snippet_inserts_its_text() -> None:
    assert as_snippet("f(${x}, 'a\\n')") == "f(\\${x\\}, 'a\\\\n')"
