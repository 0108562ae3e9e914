import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
import transformers

from codeling.errors import StorageError, UsageError
from codeling.export.export_source import ExportSource
from codeling.export.hugging_face import push, write_hub_folder, write_model_folder
from codeling.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer

from .conftest import WriteModel
from .hub_stand_in import TOKEN, Hub, hub_stand_in


@pytest.fixture
def folder(source: ExportSource, tmp_path: Path) -> Path:
    write_hub_folder(source, tmp_path / "out")
    return tmp_path / "out"


def test_transformers_reads_the_folder(
    folder: Path, source: ExportSource, tokenizer: Tokenizer
) -> None:
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    names = transformers.AutoTokenizer.from_pretrained(folder)
    text = "def f(self):\n\treturn <fim_prefix>é\r\n"
    ids = names(text, split_special_tokens=True)["input_ids"]
    assert ids == tokenizer.encode(text)
    with torch.inference_mode():
        ours = source.network(torch.tensor([ids]))
        torch.testing.assert_close(theirs(torch.tensor([ids])).logits, ours, atol=1e-4, rtol=1e-4)
    complete = transformers.pipeline("text-generation", model=str(folder))
    found = complete("def f(", max_new_tokens=4, max_length=None, do_sample=False)
    assert found[0]["generated_text"].startswith("def f(")


def test_the_configuration_is_what_servers_read(folder: Path, tokenizer: Tokenizer) -> None:
    """What vLLM and llama.cpp's converter look up in a folder."""
    config = json.loads((folder / "config.json").read_bytes())
    assert config["architectures"] == ["GPT2LMHeadModel"]
    assert config["n_ctx"] == config["n_positions"] == 64
    assert config["vocab_size"] == tokenizer.vocab_size
    generation = json.loads((folder / "generation_config.json").read_bytes())
    assert generation["eos_token_id"] == config["eos_token_id"] == tokenizer.end_of_text
    values = json.loads((folder / "tokenizer_config.json").read_bytes())
    assert values["model_max_length"] == 64
    assert values["eos_token"] == SPECIAL_TOKENS[0]
    assert set(values["additional_special_tokens"]) == set(SPECIAL_TOKENS[1:4])
    assert not {"auto_map", "custom_pipelines"} & (config.keys() | values.keys())


def test_the_card_is_kept_and_a_missing_one_is_written(
    write_model: WriteModel, folder: Path, tmp_path: Path
) -> None:
    assert (folder / "README.md").read_text() == "# A card\n"
    (tmp_path / "model" / "README.md").unlink()
    write_hub_folder(ExportSource.read(str(tmp_path / "model")), tmp_path / "again")
    card = huggingface_hub.ModelCard.load(tmp_path / "again" / "README.md")
    assert card.data.to_dict()["pipeline_tag"] == "text-generation"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_stand_in() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield hub


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own
def test_every_file_reaches_the_hub(folder: Path, hub: Hub) -> None:
    for _ in range(2):  # an existing repository is updated
        assert push(folder, "owner/name").startswith(hub.address)
    assert hub.repositories == {"owner/name": True}
    assert hub.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    push(folder, "owner/open", private=False)
    assert hub.repositories["owner/open"] is False


@pytest.mark.parametrize("name", ["owner/na me", "a/b/c", "--"])
def test_a_wrong_name_is_one_line(folder: Path, hub: Hub, name: str) -> None:
    with pytest.raises(UsageError, match="--push ") as caught:
        push(folder, name)
    assert "\n" not in str(caught.value)
    assert hub.files == {}


def test_a_refused_upload_is_one_line_and_keeps_the_folder(
    folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.fail_with = 400
    with pytest.raises(StorageError) as caught:
        push(folder, "owner/name")
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UsageError, match="log in with `hf auth login`"):
        push(folder, "owner/name")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_never_has_the_weights_of_another_model(
    folder: Path, source: ExportSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("codeling.export.hugging_face.weights.save", killed)
    with pytest.raises(KeyboardInterrupt):
        write_model_folder(folder, source.network, source.tokenizer, "# Another card\n")
    assert not (folder / "model.safetensors").exists()
