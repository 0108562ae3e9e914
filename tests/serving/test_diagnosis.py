import subprocess
from typing import Any

import pytest

from codeling.errors import UsageError
from codeling.serving import diagnosis
from codeling.serving.diagnosis import EditorCheck, diagnose
from codeling.serving.editors import EDITORS
from codeling.serving.http.access import AccessRules

URL = "http://127.0.0.1:8012"


@pytest.fixture
def reached(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go to the server of the tests."""

    def request(url: str, method: str, path: str, body: Any, token: str | None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = client.request(method, path, json=body, headers=headers)
        return response.status_code, response.json()

    monkeypatch.setattr(diagnosis, "_request", request)


@pytest.mark.parametrize("editor", EDITORS)
def test_every_editor_gets_what_it_expects(
    editor: str, reached: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    findings = diagnose(editor, URL, None)
    assert len(findings) == 2  # and none of them only names a file
    assert all(finding.is_good for finding in findings)


def test_it_asks_until_something_is_suggested_and_says_what(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = ["", "x = x", ""]
    monkeypatch.setattr(diagnosis, "_request", lambda *_: (200, {"content": texts.pop(0)}))
    monkeypatch.setattr(diagnosis, "_server", lambda url: EditorCheck(True, url))
    found = diagnose("vscode", f"{URL}/v1", None)
    assert found[0].text == URL
    assert "suggests 'x = x' after 'self.'" in found[-1].text
    texts[:] = ["", "", ""]
    (_, last) = diagnose("vscode", URL, None)
    assert last.is_good
    assert "suggested nothing at 3 places" in last.text


def test_a_missing_token_is_named(
    client: Any, reached: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.app, "_rules", AccessRules("127.0.0.1", "t" * 20))
    *good, last = diagnose("zed", URL, "wrong")
    assert all(finding.is_good for finding in good)
    assert not last.is_good
    assert "CODELING_TOKEN" in last.text
    assert diagnose("zed", URL, "t" * 20)[-1].is_good


def test_a_missing_server_is_named() -> None:
    findings = diagnose("zed", "http://127.0.0.1:9", None)
    assert "start one: codeling serve MODEL" in findings[-1].text
    assert not findings[-1].is_good


def test_a_vim_without_its_features_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/vim")
    for features, missing in (("+job -textprop", "+textprop"), ("", "+textprop and +job")):
        done = subprocess.CompletedProcess([], 0, features)
        monkeypatch.setattr("subprocess.run", lambda *_, done=done, **__: done)
        (finding,) = diagnose("vim", URL, None)
        assert not finding.is_good
        assert f"lacks {missing};" in finding.text


def test_an_unknown_editor_and_a_wrong_address_are_refused() -> None:
    with pytest.raises(UsageError, match="known are vim"):
        diagnose("ed", URL, None)
    with pytest.raises(UsageError, match="not an address"):
        diagnose("vim", "localhost:8012", None)
