import math
from pathlib import Path

import pytest

from codeling.errors import ModelError, UsageError
from codeling.export import ctranslate2 as export
from codeling.export.ctranslate2 import CTranslate2Type, write_ctranslate2
from codeling.export.export_source import ExportSource


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_the_converted_model_gives_the_same_distribution(
    source: ExportSource, tmp_path: Path, kind: CTranslate2Type, capfd: pytest.CaptureFixture[str]
) -> None:
    files = write_ctranslate2(source, tmp_path / "out", kind)
    assert "Loading weights" not in capfd.readouterr().err, "the bars of transformers are hidden"
    assert {path.name for path in files} >= {"model.bin", "config.json", "tokenizer.json"}
    divergence = export._divergence(source, tmp_path / "out")
    assert abs(divergence) < (1e-6 if kind == "float32" else 0.05)
    assert math.isfinite(divergence)


def test_an_existing_folder_is_kept(source: ExportSource, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(UsageError, match="exists already; give a new folder"):
        write_ctranslate2(source, tmp_path / "out", "int8")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_model_that_predicts_otherwise_gets_no_name(source: ExportSource, tmp_path: Path) -> None:
    source.tensors["ln_f.weight"] *= 3  # as if the converter had misread it
    with pytest.raises(ModelError, match="differs from the model when read back"):
        write_ctranslate2(source, tmp_path / "out", "float32")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_refusal_of_the_converter_is_one_line(source: ExportSource, tmp_path: Path) -> None:
    (source.folder / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(ModelError) as caught:
        write_ctranslate2(source, tmp_path / "out", "float32")
    assert "CTranslate2 cannot convert it" in str(caught.value)
    assert "\n" not in str(caught.value)
