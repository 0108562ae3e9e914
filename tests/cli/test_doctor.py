import json
from collections.abc import Callable
from email.message import Message
from typing import Any

import pytest

Main = Callable[..., Any]


def test_json_is_one_line_of_facts(main: Main) -> None:
    answer = main("doctor", "--json")
    facts = json.loads(answer.out)
    assert (answer.code, len(answer.out.splitlines())) == (0, 1)
    assert facts["threads"] >= 1
    assert facts["matrix_gflops"] > 0
    assert isinstance(facts["bf16"], bool)
    assert facts["sandbox"].startswith(("yes", "no: "))
    assert facts["system"].startswith("Linux")


def test_doctor_names_what_to_install_without_a_sandbox(
    main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    answer = main("doctor")
    assert answer.code == 0
    assert "→ generated programs cannot be run" in answer.out
    assert "apt install bubblewrap" in answer.out


def test_text_lists_the_facts(main: Main) -> None:
    answer = main("doctor")
    assert answer.code == 0
    facts = dict(line.split("  ", 1) for line in answer.out.splitlines() if "  " in line)
    assert facts["bf16 products"].strip() in {"yes", "no"}
    assert facts["matrix product"].endswith(" GFLOP/s")
    assert facts["memory"].endswith(" GiB")
    assert facts["free disk"].endswith(" GiB")
    assert answer.out.splitlines()[-1].startswith("→ ")


def test_other_systems_are_reported_as_untested(
    main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Windows")
    monkeypatch.setattr("codeling.cli.doctor._memory_gib", lambda: None)
    answer = main("doctor")
    assert answer.code == 0, answer.err
    assert "→ codeling is tested on Linux only; " in answer.out
    assert "memory                 unknown\n" in answer.out


def test_doctor_says_what_an_editor_lacks(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    answer = main("doctor", "--editor", "vim", "--url", "http://127.0.0.1:9")
    assert answer.code == 1
    assert "missing  no server at http://127.0.0.1:9" in answer.out
    assert (
        "let g:llama_config = {'endpoint_fim': 'http://127.0.0.1:9/infill', 'api_key': 'TOKEN'}"
        in answer.out
    )
    monkeypatch.setenv("CODELING_TOKEN", "a wrong token, not to be pasted")
    found = main("doctor", "--editor", "VSCode", "--url", "http://127.0.0.1:9/v1", "--json")
    facts = json.loads(found.out)
    assert (facts["editor"], facts["works"], facts["place"]) == ("vscode", False, "settings.json")
    expected = '"llama-vscode.endpoint": "http://127.0.0.1:9", "llama-vscode.api_key": "TOKEN"'
    assert facts["settings"] == expected
    assert not any(check["good"] for check in facts["checks"])
    for arguments, message in (
        (["--editor", "ed"], "known are vim"),
        (["--editor", "Continue"], "docs/editors.md#continue"),
        (["--url", "http://127.0.0.1:9"], "--url needs --editor"),
    ):
        wrong = main("doctor", *arguments)
        assert (wrong.code, wrong.err.count("\n")) == (2, 1)
        assert message in wrong.err


def test_doctor_lists_missing_extras_with_what_installs_them(
    main: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Found:
        requires = (
            "numpy",
            "no-such-package>=1; platform_system == 'Linux' and extra == 'serve'",
            "no-such-dll; platform_system == 'Windows' and extra == 'serve'",
            "numpy; extra == 'lsp'",
            "no-such-package; extra == 'dev'",
        )
        metadata = Message()

    for extra in ("serve", "lsp", "dev"):
        Found.metadata["Provides-Extra"] = extra
    monkeypatch.setattr("codeling.cli.extras.distribution", lambda name: Found)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    answer = main("doctor")
    assert "missing extras         serve\n" in answer.out
    assert "→ without no-such-package: pip install 'codeling[serve]'\n" in answer.out
    assert "threads                2\n" in answer.out
