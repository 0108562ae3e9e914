import json
from pathlib import Path

import pytest
import transformers

from codeling.errors import ModelError
from codeling.export.inspection import as_text, inspect_model
from codeling.tokenizer.tokenizer import Tokenizer

from .conftest import WriteModel


def test_a_folder_without_a_run_shows_the_contents_of_its_files(write_model: WriteModel) -> None:
    values = inspect_model(str(write_model()))
    sizes = values["sizes"]
    assert (sizes["n_layer"], sizes["n_embd"], sizes["context_length"]) == (2, 64, 64)
    assert sizes["types"] == {"F32": sizes["num_parameters"]}
    assert values["tokenizer"]["cut"] == "gpt2"
    assert values["tokenizer"]["special_tokens"]["<fim_prefix>"] == 1
    assert (values["training"], values["data"], values["made"]) == (None, None, None)
    text = "\n".join(as_text(values))
    assert "the folder does not say" in text
    assert "none measured" in text
    json.dumps(values)


def test_a_folder_from_elsewhere(tmp_path: Path, tokenizer: Tokenizer) -> None:
    shape = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, n_positions=32, vocab_size=600)
    transformers.GPT2LMHeadModel(shape).half().save_pretrained(tmp_path)
    tokenizer.save(tmp_path / "tokenizer.json")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    values = inspect_model(str(tmp_path))
    assert values["license"] == "mit"
    assert values["sizes"]["types"].keys() == {"F16"}
    assert "600" not in values["tokenizer"]
    assert any("licence" in line and "mit" in line for line in as_text(values))


def test_a_tokenizer_of_another_model_is_reported(
    write_model: WriteModel, python_tokenizer: Tokenizer
) -> None:
    folder = write_model()
    python_tokenizer.save(folder / "tokenizer.json")
    values = inspect_model(str(folder))
    assert not values["tokenizer"]["belongs_to_the_weights"]
    assert any(line.startswith("warning") for line in as_text(values))


def test_a_config_that_does_not_belong_to_the_weights_is_refused(write_model: WriteModel) -> None:
    folder = write_model()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "n_layer": 10**12}))
    with pytest.raises(ModelError, match=r"config.json says n_layer 1,000,000,000,000"):
        inspect_model(str(folder))


def test_damaged_weights_are_one_line(write_model: WriteModel) -> None:
    folder = write_model()
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError) as caught:
        inspect_model(str(folder))
    assert "\n" not in str(caught.value)
