import importlib
import json
import sys

import pytest

from codeling.serving.editors import EDITORS, SHOWN_AT_START, greeting

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
URL = "http://127.0.0.1:8012"


@pytest.mark.parametrize("token", ["a-token", None])
def test_settings_name_the_server_and_the_token(token: str | None) -> None:
    for setup in EDITORS.values():
        text = setup.settings(URL, token)
        assert URL in text
        assert token is None or token in text
        assert "None" not in text


def test_settings_are_valid_where_they_belong() -> None:
    for name in ("vscode", "zed"):
        json.loads("{" + EDITORS[name].settings(URL, None) + "}")
    for name in ("jetbrains", "marimo"):
        tomllib.loads(EDITORS[name].settings(URL, "a-token"))


def test_the_greeting_shows_the_common_editors() -> None:
    shown = greeting("runs/demo", URL, "a-token")
    assert f"{URL}/#token=a-token\n" in shown
    assert f"{URL}/\n" in greeting("runs/demo", URL, None)
    assert "runs/demo" in shown
    assert all(EDITORS[name].title in shown for name in SHOWN_AT_START)
    assert "no token" in greeting("runs/demo", URL, None)
