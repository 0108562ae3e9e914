from pathlib import Path

import pytest
import torch

from codeling.errors import ModelError, TokenizerError, UsageError
from codeling.export.export_source import ExportSource, new_folder
from codeling.model import weights
from codeling.tokenizer.tokenizer import Tokenizer

from .conftest import WriteModel


def test_the_network_is_the_models(source: ExportSource) -> None:
    network, _ = weights.load(source.folder)
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        assert torch.equal(source.network(ids), network.eval()(ids))
    assert source.name == "model"
    assert source.fim_spm_rate == 0.5


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_damaged_source_is_one_line(write_model: WriteModel, name: str, damage: str) -> None:
    path = write_model() / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"\x00 other")
    if damage == "missing":
        path.unlink()
    with pytest.raises((ModelError, TokenizerError, UsageError)) as caught:
        ExportSource.read(str(path.parent))
    assert "\n" not in str(caught.value)
    assert str(path.parent) in str(caught.value)


def test_a_tokenizer_of_another_model_is_refused(
    write_model: WriteModel, python_tokenizer: Tokenizer
) -> None:
    folder = write_model()
    python_tokenizer.save(folder / "tokenizer.json")
    with pytest.raises(TokenizerError, match="is not the tokenizer that the model was trained"):
        ExportSource.read(str(folder))


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"

    def write_half(folder: Path) -> None:
        (folder / "x").write_text("x")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), new_folder(out) as partial:
        write_half(partial)
    assert list(out.parent.iterdir()) == []
    out.mkdir()
    with new_folder(out) as partial:
        (partial / "x").write_text("x")
    assert [path.name for path in out.parent.rglob("*")] == ["out", "x"]
    with pytest.raises(UsageError, match="exists already"), new_folder(out):
        pytest.fail("it is refused before anything is written")
