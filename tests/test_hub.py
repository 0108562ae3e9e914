"""Addresses of the Hugging Face Hub and downloads."""

from pathlib import Path
from typing import Any

import pytest

from codeling import hub
from codeling.errors import InputError, UsageError


@pytest.mark.parametrize(
    "address, repository, revision, path",
    [
        ("hf://openai/openai_humaneval", "openai/openai_humaneval", None, None),
        ("hf://datasets/a/b@v1", "a/b", "v1", None),
        ("hf://a/b.c@v1/data/x.jsonl", "a/b.c", "v1", "data/x.jsonl"),
        ("hf://a/b/test", "a/b", None, "test"),
    ],
)
def test_an_address_is_parsed_and_downloaded(
    address: str,
    repository: str,
    revision: str | None,
    path: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call: dict[str, Any] = {}

    def snapshot_download(name: str, **options: Any) -> str:
        call.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert hub.parse(address) == (repository, revision, path)
    assert hub.download(address, ["*.json"], repo_type="dataset") == tmp_path / (path or "")
    assert call == {
        "name": repository,
        "revision": revision,
        "repo_type": "dataset",
        "allow_patterns": [path, f"{path}/*"] if path else ["*.json"],
    }


@pytest.mark.parametrize("address", ["hf://", "hf://one", "hf://a b/c", "hf://a/b@", "hf://a/--b"])
def test_a_malformed_address_is_a_usage_error(address: str) -> None:
    with pytest.raises(UsageError, match="hf://"):
        hub.download(address, ["*"], repo_type="model")


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(name: str, **options: Any) -> str:
        raise ConnectionError("no route to host\nand a long explanation")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(InputError) as caught:
        hub.download("hf://owner/name", ["*"], repo_type="model")
    assert str(caught.value) == "hf://owner/name: cannot be downloaded (no route to host)"
