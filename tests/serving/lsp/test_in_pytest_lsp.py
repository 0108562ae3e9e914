"""``codeling lsp`` with a model, from pytest-lsp's client with the capabilities of real editors."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from codeling.model.gpt2 import GPT2
from codeling.model.weights import save
from codeling.tokenizer.tokenizer import Tokenizer

pytest_lsp = pytest.importorskip("pytest_lsp")  # extra [bench]
pytestmark = pytest.mark.proof

NAME = "quaternion_workshop"
BESIDE = f"value = {NAME}(1)\n" * 8
PREFIX = "value = quater"


@pytest.mark.parametrize("editor", ["neovim", "emacs", "visual_studio_code"])
def test_a_name_of_another_buffer_is_ghost_text_with_its_place(
    editor: str, served_model: GPT2, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    save(tmp_path / "model", served_model, end_of_text_id=tokenizer.end_of_text)
    tokenizer.save(tmp_path / "model" / "tokenizer.json")
    here, there = ((tmp_path / name).as_uri() for name in ("here.py", "tools.py"))
    document, end = types.TextDocumentIdentifier(here), types.Position(0, len(PREFIX))

    async def session(client: Any) -> None:
        for uri, text in ((there, BESIDE), (here, PREFIX + "\n")):
            item = types.TextDocumentItem(uri, "python", 1, text)
            client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        context = types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic)
        answer = await client.text_document_inline_completion_async(
            types.InlineCompletionParams(context, document, end)
        )
        (suggested,) = answer.items
        assert suggested.insert_text.startswith(NAME.removeprefix("quater"))
        assert suggested.range == types.Range(end, end)
        change = types.TextDocumentContentChangePartial(
            range=types.Range(end, end), text=suggested.insert_text
        )
        version = types.VersionedTextDocumentIdentifier(2, here)
        client.text_document_did_change(types.DidChangeTextDocumentParams(version, [change]))
        hover = await client.text_document_hover_async(types.HoverParams(document, end))
        assert "tools.py:" in hover.contents.value

    async def main() -> None:
        client = pytest_lsp.make_test_lsp_client()
        options = ("--aggressiveness", "eager")
        await client.start_io(
            sys.executable, "-m", "codeling", "lsp", str(tmp_path / "model"), *options
        )
        capabilities = pytest_lsp.client_capabilities(editor)
        initialize = types.InitializeParams(capabilities, root_uri=tmp_path.as_uri())
        await client.initialize_session(initialize)
        try:
            await asyncio.wait_for(session(client), 60)
        finally:
            await client.shutdown_session()
            await client.stop()

    asyncio.run(main())
