"""Whether an editor can use a running server: the same requests as the editor sends.

This module must not know command lines.
"""

import shutil
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

from codeling.errors import UsageError
from codeling.serving.client import FAILURES, check_url, connect, error_message, send
from codeling.serving.editors import EDITORS
from codeling.serving.http.access import TOKEN_VARIABLE
from codeling.serving.settings import MODEL_NAME

_TIMEOUT_SECONDS = 35
_BEFORE, _AFTER = "def mean(xs):\n    return ", "\n\nprint(mean([1, 2]))\n"
_INFILL = ("/infill", {"input_prefix": _BEFORE, "input_suffix": _AFTER, "n_predict": 8})
_PROBES: dict[str, tuple[str, dict[str, Any]]] = {
    "vim": _INFILL,
    "vscode": _INFILL,
    "zed": (
        "/v1/completions",
        {"prompt": f"<fim_prefix>{_BEFORE}<fim_suffix>{_AFTER}<fim_middle>", "max_tokens": 8},
    ),
    "jetbrains": ("/v1/completions", {"segments": {"prefix": _BEFORE, "suffix": _AFTER}}),
    "neovim": ("/v1/completions", {"prompt": _BEFORE, "suffix": _AFTER, "max_tokens": 8}),
    "marimo": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": f"{_BEFORE}<FILL_ME>{_AFTER}"}]},
    ),
}
"""By editor: the route and the body of a request for a suggestion."""


class EditorCheck(NamedTuple):
    """One thing that was checked."""

    is_good: bool
    text: str
    """What was found; if it is not good, also what to do."""


def diagnose(editor: str, url: str, token: str | None) -> list[EditorCheck]:
    """Check the server at ``url`` as ``editor`` would use it; the first failure is the last.

    :raises UsageError: there are no settings for this editor, or ``url`` is none.
    """
    if editor not in EDITORS:
        raise UsageError(f"there are no settings for {editor!r}; known are {', '.join(EDITORS)}")
    check_url(url)
    checks: list[Callable[[], EditorCheck]] = [
        lambda: _program(editor),
        lambda: _server(url),
        lambda: _suggestion(editor, url, token),
    ]
    findings = []
    for check in checks:
        findings.append(check())
        if not findings[-1].is_good:
            break
    return findings


def _program(editor: str) -> EditorCheck:
    """Vim needs two features that not every build has; other editors are not looked for."""
    found = shutil.which("vim") if editor == "vim" else None
    if found is None:
        return EditorCheck(
            True, f"{EDITORS[editor].title}: settings belong in {EDITORS[editor].place}"
        )
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    missing = [name for name in ("+textprop", "+job") if name not in version.stdout.split()]
    if missing:
        return EditorCheck(False, f"{found} lacks {' and '.join(missing)}; llama.vim needs Vim 9")
    return EditorCheck(True, f"{found} has +textprop and +job")


def _server(url: str) -> EditorCheck:
    try:
        status, _ = _request(url, "GET", "/health", None, None)
    except FAILURES as error:
        return EditorCheck(False, f"no server at {url} ({error}); start one: codeling serve MODEL")
    if status != 200:
        return EditorCheck(False, f"{url}/health: status {status}; is that a codeling server?")
    return EditorCheck(True, f"a server answers at {url}")


def _suggestion(editor: str, url: str, token: str | None) -> EditorCheck:
    path, body = _PROBES[editor]
    try:
        status, answer = _request(url, "POST", path, body, token)
    except FAILURES as error:
        return EditorCheck(False, f"{url}{path}: no answer ({error})")
    if status == 401:
        return EditorCheck(
            False, f"the token is missing or wrong; set {TOKEN_VARIABLE} to the one of the server"
        )
    if status != 200:
        return EditorCheck(False, f"{url}{path}: status {status}: {error_message(answer)}")
    return EditorCheck(True, f"{path} answers as {EDITORS[editor].title} expects ({MODEL_NAME})")


def _request(
    url: str, method: str, path: str, body: dict[str, Any] | None, token: str | None
) -> tuple[int, Any]:
    return send(connect(url, _TIMEOUT_SECONDS), method, path, body, token)
