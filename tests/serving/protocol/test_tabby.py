from typing import Any

BODY = {
    "language": "python",
    "segments": {
        "prefix": "def f(x):\n    return ",
        "suffix": "\n\nf(1)\n",
        "filepath": "a.py",
        "git_url": "https://example.org/a.git",
        "declarations": [{"filepath": "b.py", "body": "def g(): ..."}],
        "relevant_snippets_from_changed_files": [],
        "clipboard": "x",
    },
    "temperature": 0.1,
    "seed": 7,
}


def test_a_completion_has_an_id_and_choices(client: Any) -> None:
    answer = client.post("/v1/completions", json=BODY).json()
    assert isinstance(answer["id"], str)
    (choice,) = answer["choices"]
    assert choice["index"] == 0
    assert isinstance(choice["text"], str)


def test_the_client_learns_of_a_model_and_no_telemetry(client: Any) -> None:
    health = client.get("/v1/health").json()
    assert health["model"]
    assert set(health) == {
        "model", "device", "arch", "cpu_info", "cpu_count", "cuda_devices", "version",
    }  # fmt: skip
    setting = client.get("/v1beta/server_setting").json()
    assert setting == {"disable_client_side_telemetry": True}


def test_events_are_counted(client: Any) -> None:
    for kind, status in (("view", 200), ("select", 200), ("dismiss", 200), ("other", 400)):
        event = {"type": kind, "completion_id": "cmpl-1", "choice_index": 0}
        assert client.post("/v1/events", json=event).status_code == status
    page = client.get("/metrics").text
    for kind in ("view", "select", "dismiss"):
        assert f'codeling_suggestions_total{{event="{kind}"}} 1.0' in page
