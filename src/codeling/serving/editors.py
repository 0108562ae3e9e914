"""Settings of editors for a running server, ready to paste. docs/editors.md explains them."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from codeling.errors import UsageError
from codeling.serving.settings import MODEL_NAME

PLACEHOLDER = "TOKEN"
"""Stands for a token that is not known."""
ZED_VARIABLE = "ZED_OPEN_AI_COMPATIBLE_EDIT_PREDICTION_API_KEY"


@dataclass(frozen=True)
class EditorSetup:
    """The settings that connect one editor to a server."""

    name: str
    title: str
    """Editor and plugin."""
    place: str
    """File that the settings belong in."""
    settings: Callable[[str, str | None], str]
    """Server's URL and token to settings."""


def _vim(url: str, token: str | None) -> str:
    key = f", 'api_key': '{token}'" if token else ""
    return f"let g:llama_config = {{'endpoint_fim': '{url}/infill'{key}}}"


def _vscode(url: str, token: str | None) -> str:
    key = f', "llama-vscode.api_key": "{token}"' if token else ""
    return f'"llama-vscode.endpoint": "{url}"{key}'


def _zed(url: str, token: str | None) -> str:
    api = {
        "api_url": f"{url}/v1/completions",
        "model": MODEL_NAME,
        "prompt_format": "star_coder",
        "max_output_tokens": 64,
    }
    value = {"provider": "open_ai_compatible_api", "open_ai_compatible_api": api}
    variable = f"\nand start Zed with {ZED_VARIABLE}={token}" if token else ""
    return f'"edit_predictions": {json.dumps(value)}{variable}'


def _jetbrains(url: str, token: str | None) -> str:
    key = f'\ntoken = "{token}"' if token else ""
    return f'[server]\nendpoint = "{url}"{key}'


def _neovim(url: str, token: str | None) -> str:
    variable = "CODELING_TOKEN" if token else "TERM"
    start = f"\nand start Neovim with CODELING_TOKEN={token}" if token else ""
    return (
        "require('minuet').setup { provider = 'openai_fim_compatible', provider_options = {\n"
        f"  openai_fim_compatible = {{ name = '{MODEL_NAME}', model = '{MODEL_NAME}',\n"
        f"    api_key = '{variable}', end_point = '{url}/v1/completions' }} }} }}{start}"
    )


def _marimo(url: str, token: str | None) -> str:
    return (
        '[completion]\ncopilot = "custom"\n\n'
        f'[ai.models]\nautocomplete_model = "{MODEL_NAME}/{MODEL_NAME}"\n\n'
        f"[ai.custom_providers.{MODEL_NAME}]\n"
        f'base_url = "{url}/v1"\napi_key = "{token or "none"}"'
    )


EDITORS = {
    setup.name: setup
    for setup in (
        EditorSetup("vim", "Vim or Neovim with llama.vim", "vimrc", _vim),
        EditorSetup("vscode", "VS Code with llama-vscode", "settings.json", _vscode),
        EditorSetup("zed", "Zed", "settings.json", _zed),
        EditorSetup(
            "jetbrains", "PyCharm with Tabby", "~/.tabby-client/agent/config.toml", _jetbrains
        ),
        EditorSetup("neovim", "Neovim with minuet-ai.nvim", "init.lua", _neovim),
        EditorSetup("marimo", "marimo", "~/.config/marimo/marimo.toml", _marimo),
    )
}
"""By the name that ``codeling doctor --editor`` takes."""
DOCUMENTED = {
    "continue": "continue",
    "jupyter": "jupyterlab",
    "jupyterlab": "jupyterlab",
    "emacs": "editors-that-speak-lsp",
    "lsp": "editors-that-speak-lsp",
}
"""Editors whose settings are only in docs/editors.md, with the section."""
SHOWN_AT_START = ("vim", "vscode", "zed", "jetbrains")


def find_editor(name: str) -> EditorSetup:
    """The editor called ``name``, in upper or lower case.

    :raises UsageError: there are no settings for it here; names where they are.
    """
    lower = name.lower()
    if lower in DOCUMENTED:
        raise UsageError(f"the settings of {name} are in docs/editors.md#{DOCUMENTED[lower]}")
    if lower not in EDITORS:
        known = ", ".join((*EDITORS, *DOCUMENTED))
        raise UsageError(f"there are no settings for {name!r}; known are {known}")
    return EDITORS[lower]


def greeting(model: str, url: str, token: str | None, engine_url: str | None = None) -> str:
    """The text printed when the server has started.

    ``engine_url`` is the server that makes the forward passes, if another one does.
    """
    lines = [f"serving {model} at {url}; Ctrl-C stops"]
    if engine_url:
        lines.append(f"forward passes: {engine_url}; the memory is off")
    lines.append(
        f"token: {token}" if token else "no token: every program on this machine may use it"
    )
    lines.append(f"try it in a browser: {url}/{f'#token={token}' if token else ''}")
    for name in SHOWN_AT_START:
        setup = EDITORS[name]
        lines += ["", f"{setup.title}, in {setup.place}:"]
        lines += [f"  {line}" for line in setup.settings(url, token).splitlines()]
    lines += ["", "other editors: docs/editors.md, or codeling doctor --editor NAME"]
    return "\n".join(lines)
