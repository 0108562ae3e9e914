"""A run folder is found from every path inside it, and from no other."""

from pathlib import Path

import pytest

from codeling.run_folder import RunFolder, find_run_folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "runs" / "demo"
    for part in ("model", "checkpoints/step-00000010", "provenance", "corpus/train"):
        (run / part).mkdir(parents=True)
    (run / "recipe.toml").touch()
    (run / "checkpoints/step-00000010/manifest.json").touch()
    (run / "provenance/index.safetensors").touch()
    return run


@pytest.mark.parametrize(
    "part",
    [
        *("", "model", "checkpoints", "checkpoints/step-00000010"),
        *("provenance/index.safetensors", "corpus/train", "model/../provenance"),
    ],
)
def test_every_path_in_a_run_leads_to_its_parts(
    run: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    for given in (run / part, Path("demo") / part):
        found = find_run_folder(str(given))
        assert found is not None
        assert found.provenance.samefile(run / "provenance")
        assert found.model.samefile(run / "model")


def test_a_relative_path_stays_relative(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    assert find_run_folder("demo/model") == RunFolder(Path("demo"))
    monkeypatch.chdir(run / "model")
    found = find_run_folder(".")
    assert found is not None
    assert found.path.samefile(run)


def test_links_are_followed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(run / "model", target_is_directory=True)
    found = find_run_folder(tmp_path / "latest")
    assert found is not None
    assert found.path.samefile(run)


def test_a_model_and_its_index_without_the_rest_of_the_run_are_found(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert find_run_folder(tmp_path / "model") is None
    (tmp_path / "provenance").mkdir()
    assert find_run_folder(tmp_path / "model") == RunFolder(tmp_path)


def test_other_paths_belong_to_no_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "notes").mkdir()
    monkeypatch.chdir(run / "model")
    for path in (
        *(run.parent, run / "notes", run / "nowhere", "nowhere", "x" * 5000),
        *("~unknown-user-name/run", "hf://owner/name"),
    ):
        assert find_run_folder(path) is None
