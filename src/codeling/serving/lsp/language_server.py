"""The language server: suggestions and their possible sources, for any editor that speaks LSP.

``textDocument/inlineCompletion`` gives ghost text, ``textDocument/completion`` the same text to
editors without it. Commands accept a word or a line of what was suggested last. A hover and a code
action name the places that lines may come from: the open file, files beside it, the training data.
The other open buffers are sent with each request. pygls keeps the documents and cancels requests.
Source: LSP 3.18.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any, cast

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from codeling.generation.suggestions.place import is_border, last_word
from codeling.generation.suggestions.shown import ShownText
from codeling.provenance.index import Match
from codeling.serving.lsp.completer import Completer
from codeling.serving.lsp.positions import Encoding, num_units, offset_at, position_after
from codeling.serving.lsp.seen_sources import SeenSources, described
from codeling.serving.protocol.query import SentFile

ACCEPT_WORD = "codeling.acceptWord"
ACCEPT_LINE = "codeling.acceptLine"
SOURCES = "codeling.sources"
_TRIGGERS = [".", "(", "[", "{", " ", "=", ",", ":", "\n"]
_MAX_SOURCES = 3

Tracer = Callable[[str, tuple[int, int]], Sequence[Match]]
"""Text, and its first and last line from 1, to where these lines occur in the training data."""


@dataclass
class LastSuggestion:
    """The last suggestion that was sent to an editor."""

    uri: str
    position: types.Position
    text: str


class CodeServer:
    """The handlers, and what they share."""

    def __init__(self, completer: Completer, tracer: Tracer | None, version: str) -> None:
        self._completer = completer
        self._tracer = tracer
        self._last: LastSuggestion | None = None
        self._seen = SeenSources()
        self._shown: dict[str, ShownText] = {}
        """The suggestion shown in each document."""
        self.server = server = LanguageServer("codeling", version)
        server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(
            partial(self.inline_completion)
        )
        server.feature(
            types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=_TRIGGERS)
        )(partial(self.completion))
        server.feature(types.TEXT_DOCUMENT_DID_CLOSE)(partial(self.did_close))
        server.command(ACCEPT_WORD)(partial(self.accept_word))
        server.command(ACCEPT_LINE)(partial(self.accept_line))
        server.feature(types.TEXT_DOCUMENT_HOVER)(partial(self.hover))
        server.feature(types.TEXT_DOCUMENT_CODE_ACTION)(partial(self.code_action))
        server.command(SOURCES)(partial(self.sources))

    @property
    def _encoding(self) -> Encoding:
        """The unit of the client's positions."""
        return cast("Encoding", str(self.server.workspace.position_encoding or "utf-16"))

    @property
    def _takes_snippets(self) -> bool:
        document = self.server.client_capabilities.text_document
        item = document and document.completion and document.completion.completion_item
        return bool(item and item.snippet_support)

    async def _suggest(self, uri: str, position: types.Position) -> tuple[str, str]:
        """The suggestion at a position, and the letters of the word before it."""
        source = self.server.workspace.get_text_document(uri).source
        offset = offset_at(source, position.line, position.character, self._encoding)
        prefix, suffix = source[:offset], source[offset:]
        shown = self._shown.setdefault(uri, ShownText())
        text = shown.remaining(prefix, suffix)
        if not text:
            shown.show(prefix, suffix, "")
            files = self._other_buffers(uri)
            text, spans = await self._completer.complete(prefix, suffix, uri, files)
            self._seen.remember(uri, spans)
            if shown.is_at(prefix, suffix):  # else the person has typed on, and asked again
                shown.show(prefix, suffix, text)
        self._last = LastSuggestion(uri, position, text)
        return text, last_word(prefix[prefix.rfind("\n") + 1 :])

    def _other_buffers(self, uri: str) -> list[SentFile]:
        """The other open Python buffers, as they are in the editor; the one opened last is last."""
        workspace = self.server.workspace
        found = []
        for other, document in workspace.text_documents.items():
            if other != uri and (document.language_id == "python" or other.endswith(".py")):
                path = PurePath(document.path or other)
                roots = [each for each in self._roots() if path.is_relative_to(each)]
                name = path.relative_to(roots[0]).as_posix() if roots else path.name
                found.append(SentFile(name, document.source))
        return found

    def _roots(self) -> list[str]:
        workspace = self.server.workspace
        found = [to_fs_path(uri) for uri in workspace.folders] + [workspace.root_path]
        return [each for each in found if each]

    async def inline_completion(
        self, params: types.InlineCompletionParams
    ) -> types.InlineCompletionList:
        """``textDocument/inlineCompletion``."""
        text, _ = await self._suggest(params.text_document.uri, params.position)
        here = types.Range(params.position, params.position)
        # Without a range, the text would land where the cursor is when the answer arrives.
        items = [types.InlineCompletionItem(insert_text=text, range=here)] if text else []
        return types.InlineCompletionList(items=items)

    async def completion(self, params: types.CompletionParams) -> types.CompletionList:
        """``textDocument/completion``: one item, which replaces the letters before the cursor."""
        text, fragment = await self._suggest(params.text_document.uri, params.position)
        if not text:
            return types.CompletionList(is_incomplete=True, items=[])
        end = params.position
        begin = types.Position(end.line, end.character - num_units(fragment, self._encoding))
        first, _, more = (fragment + text).partition("\n")
        # Neovim 0.11 inserts a plain text up to its first blank. Editors indent the lines of a
        # snippet once more, so only a single line is one.
        is_snippet = self._takes_snippets and not more
        kind = types.InsertTextFormat
        item = types.CompletionItem(
            label=f"{first.strip()} …" if more else first.strip(),
            kind=types.CompletionItemKind.Text,
            detail="codeling",
            documentation=fragment + text,
            filter_text=fragment + text,
            sort_text="\t",  # before all others
            insert_text_format=kind.Snippet if is_snippet else kind.PlainText,
            text_edit=types.TextEdit(
                types.Range(begin, end), as_snippet(first) if is_snippet else fragment + text
            ),
        )
        return types.CompletionList(is_incomplete=True, items=[item])

    def did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        """``textDocument/didClose``."""
        self._shown.pop(params.text_document.uri, None)
        self._seen.forget(params.text_document.uri)

    async def accept_word(self, *arguments: Any) -> bool:
        """Insert the next word of the last suggestion."""
        return await self._accept(next_word)

    async def accept_line(self, *arguments: Any) -> bool:
        """Insert the next line of the last suggestion."""
        return await self._accept(next_line)

    async def _accept(self, part_of: Callable[[str], str]) -> bool:
        last = self._last
        if last is None or not last.text:
            return False
        part = part_of(last.text)
        edit = types.TextEdit(types.Range(last.position, last.position), part)
        result = await self.server.workspace_apply_edit_async(
            types.ApplyWorkspaceEditParams(types.WorkspaceEdit(changes={last.uri: [edit]}))
        )
        if result.applied:
            at = last.position
            line, character = position_after(at.line, at.character, part, self._encoding)
            position = types.Position(line, character)
            self._last = LastSuggestion(last.uri, position, last.text[len(part) :])
        return result.applied

    async def hover(self, params: types.HoverParams) -> types.Hover | None:
        """Places that the line under the pointer may come from."""
        line = params.position.line + 1
        text = await self._traced(params.text_document.uri, line, line)
        if not text:
            return None
        return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text))

    def code_action(self, params: types.CodeActionParams) -> list[types.Command]:
        """Offer to look up where the selected lines may come from."""
        first, last = params.range.start.line + 1, params.range.end.line + 1
        title = "Find where these lines may come from"
        return [types.Command(title, SOURCES, arguments=[params.text_document.uri, first, last])]

    async def sources(self, uri: str, first: int, last: int) -> str:
        """Tell where lines may come from, in a message and as the command's result."""
        text = await self._traced(uri, first, last) or self._nowhere
        self.server.window_show_message(
            types.ShowMessageParams(types.MessageType.Info, text.replace("\n", "; "))
        )
        return text

    @property
    def _nowhere(self) -> str:
        places = "this file or those beside it"
        return f"not found in {places}" + (" or the training data" if self._tracer else "")

    async def _traced(self, uri: str, first: int, last: int) -> str:
        source = self.server.workspace.get_text_document(uri).source
        text = source.splitlines()
        if first > len(text):
            return ""
        lines = first, max(first, min(last, len(text)))
        spans = self._seen.within(uri, "\n".join(text[lines[0] - 1 : lines[1]]))
        found = [described(span) for span in spans[:_MAX_SOURCES]]
        if self._tracer is not None:
            matches = await asyncio.to_thread(self._tracer, source, lines)
            found += [_matched(match) for match in matches[:_MAX_SOURCES]]
        return "\n".join(found)


def _matched(match: Match) -> str:
    place = f"{match.repository} {match.path}:{match.start_line}-{match.end_line}"
    where = f"[{place}]({match.url})" if match.url else place
    return f"- {where} ({match.license or 'licence unknown'}, {match.share:.0%} equal)"


def as_snippet(text: str) -> str:
    """``text`` as a snippet of LSP that inserts it."""
    return re.sub(r"[\\$}]", r"\\\g<0>", text)


def next_word(text: str) -> str:
    """The beginning of ``text`` up to the end of its first word, or its first other character."""
    end = len(text) - len(text.lstrip()) + 1
    while not is_border(text, end):
        end += 1
    return text[:end]


def next_line(text: str) -> str:
    """The beginning of ``text`` up to the end of its first line that is not empty."""
    begin = len(text) - len(text.lstrip("\n"))
    end = text.find("\n", begin)
    return text if end < 0 else text[:end]
