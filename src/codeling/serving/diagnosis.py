"""Whether an editor can use a running server: the same requests as the editor sends.

This module must not know command lines.
"""

import shutil
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

from codeling.serving.client import FAILURES, address_of, connect, error_message, send
from codeling.serving.editors import EditorSetup, find_editor
from codeling.serving.http.access import TOKEN_VARIABLE

_TIMEOUT_SECONDS = 35
_CURSORS = (
    ("def mean(xs):\n    return ", "\n\nprint(mean([1, 2]))\n"),
    ("class Point:\n    def __init__(self, x, y):\n        self.x = x\n        self.", "\n"),
    ("def area(width, height):\n    return width * height\n\n\nprint(area(", "\n"),
)
"""Texts before and after a cursor. Not every model is sure enough everywhere."""
_PATHS = {
    "vim": "/infill",
    "vscode": "/infill",
    "zed": "/v1/completions",
    "jetbrains": "/v1/completions",
    "neovim": "/v1/completions",
    "marimo": "/v1/chat/completions",
}
"""By editor: the route that it asks."""


class EditorCheck(NamedTuple):
    """One thing that was checked."""

    is_good: bool
    text: str
    """The finding; if it is not good, also what to do."""


def diagnose(editor: str, url: str, token: str | None) -> list[EditorCheck]:
    """Check the server at ``url`` as ``editor`` would use it; the first failure is the last.

    :raises UsageError: there are no settings for this editor, or ``url`` is not an address.
    """
    setup, url = find_editor(editor), address_of(url)
    checks: list[Callable[[], EditorCheck | None]] = [
        lambda: _vim() if setup.name == "vim" else None,
        lambda: _server(url),
        lambda: _suggestion(setup, url, token),
    ]
    findings = []
    for check in checks:
        finding = check()
        if finding is not None:
            findings.append(finding)
            if not finding.is_good:
                break
    return findings


def _vim() -> EditorCheck | None:
    """Vim needs two features that not every build has. None: there is no Vim here."""
    found = shutil.which("vim")
    if found is None:
        return None
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    missing = [name for name in ("+textprop", "+job") if name not in version.stdout.split()]
    if missing:
        return EditorCheck(False, f"{found} lacks {' and '.join(missing)}; llama.vim needs Vim 9")
    return EditorCheck(True, f"{found} has +textprop and +job")


def _server(url: str) -> EditorCheck:
    try:
        status, answer = _request(url, "GET", "/health", None, None)
    except FAILURES as error:
        return EditorCheck(False, f"no server at {url} ({error}); start one: codeling serve MODEL")
    if status != 200:
        reason = error_message(answer) or "is that a codeling server?"
        return EditorCheck(False, f"{url}/health: status {status}; {reason}")
    return EditorCheck(True, f"a server answers at {url}")


def _suggestion(setup: EditorSetup, url: str, token: str | None) -> EditorCheck:
    """Ask until something is suggested."""
    path = _PATHS[setup.name]
    for before, after in _CURSORS:
        try:
            status, answer = _request(url, "POST", path, _body(setup.name, before, after), token)
        except FAILURES as error:
            return EditorCheck(False, f"{url}{path}: no answer ({error})")
        if status == 401:
            return EditorCheck(
                False,
                f"the token is missing or wrong; set {TOKEN_VARIABLE} to the one of that server",
            )
        if status != 200:
            return EditorCheck(False, f"{url}{path}: status {status}: {error_message(answer)}")
        text = _text_of(answer)
        if text:
            line = before.rpartition("\n")[2].lstrip()
            return EditorCheck(True, f"{path} suggests {text!r} after {line!r}")
    return EditorCheck(
        True,
        f"{path} answers, but suggested nothing at {len(_CURSORS)} places: the model was not sure "
        "enough there; codeling serve --aggressiveness eager shows more",
    )


def _body(editor: str, before: str, after: str) -> dict[str, Any]:
    """The body of a request for a suggestion, as ``editor`` sends it."""
    if _PATHS[editor] == "/infill":
        return {"input_prefix": before, "input_suffix": after, "n_predict": 8}
    if editor == "zed":
        prompt = f"<fim_prefix>{before}<fim_suffix>{after}<fim_middle>"
        return {"prompt": prompt, "max_tokens": 8}
    if editor == "jetbrains":
        return {"segments": {"prefix": before, "suffix": after}}
    if editor == "marimo":
        return {"messages": [{"role": "user", "content": f"{before}<FILL_ME>{after}"}]}
    return {"prompt": before, "suffix": after, "max_tokens": 8}


def _text_of(answer: Any) -> str:
    """The suggestion in an answer of any of the routes."""
    if "content" in answer:
        return str(answer["content"])
    choice = answer["choices"][0]
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


def _request(
    url: str, method: str, path: str, body: dict[str, Any] | None, token: str | None
) -> tuple[int, Any]:
    return send(connect(url, _TIMEOUT_SECONDS), method, path, body, token)
