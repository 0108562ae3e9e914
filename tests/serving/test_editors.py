import importlib
import json
import re
import sys
from pathlib import Path

import pytest

from codeling.errors import UsageError
from codeling.serving.editors import (
    DOCUMENTED,
    EDITORS,
    SHOWN_AT_START,
    find_editor,
    greeting,
)

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


def test_without_a_token_no_setting_has_an_empty_one() -> None:
    assert all('""' not in setup.settings(URL, None) for setup in EDITORS.values())


def test_editors_are_found_in_any_case_or_in_the_documentation() -> None:
    assert find_editor("VIM") is EDITORS["vim"]
    text = Path(__file__, "../../../docs/editors.md").resolve().read_text("utf-8")
    sections = {each.lower().replace(" ", "-") for each in re.findall(r"(?m)^## (.+)$", text)}
    assert set(DOCUMENTED.values()) <= sections
    for name in DOCUMENTED:
        with pytest.raises(UsageError, match=rf"docs/editors\.md#{DOCUMENTED[name]}$"):
            find_editor(name.upper())


def test_the_greeting_shows_the_common_editors() -> None:
    shown = greeting("runs/demo", URL, "a-token")
    assert f"{URL}/#token=a-token\n" in shown
    assert f"{URL}/\n" in greeting("runs/demo", URL, None)
    assert "runs/demo" in shown
    assert all(EDITORS[name].title in shown for name in SHOWN_AT_START)
    assert "memory" not in shown
    proxy = greeting("runs/demo", URL, None, "http://127.0.0.1:8000")
    assert "\nforward passes: http://127.0.0.1:8000; the memory is off\n" in proxy
    assert "no token" in greeting("runs/demo", URL, None)
