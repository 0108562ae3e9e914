import json
from pathlib import Path

import gguf
import pytest
from typer.testing import CliRunner, Result

from codeling.cli.app import app
from codeling.errors import CodelingError, StorageError, UsageError
from codeling.export.export_source import ExportSource
from codeling.export.hugging_face import write_model_folder
from codeling.manifest import sha256_file
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import PreTokenizerName, TokenizerRecipe
from codeling.tokenizer.train import train


def write_model(folder: Path, cut: PreTokenizerName) -> Path:
    text = Path(__file__).read_text()
    tokenizer = train([text], TokenizerRecipe(vocab_size=400, cut=cut))
    network = GPT2(GPT2Config(tokenizer.vocab_size, 64, 1, 2, 32))
    network.initialize(0)
    write_model_folder(folder, network, tokenizer, "# A card\n")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "my model", "gpt2")


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if isinstance(result.exception, CodelingError):
        raise result.exception
    return result


def test_gguf_is_written_with_the_next_commands(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.gguf"
    result = run("export", model, out, "--type", "q8_0")
    assert result.exit_code == 0
    assert f"llama-server -m {out}" in result.stdout
    assert f"ollama create 'my model' -f {tmp_path / 'm.Modelfile'}" in result.stdout
    assert "llama.cpp has no pre-tokenizer" not in result.stderr
    kinds = {tensor.tensor_type.name for tensor in gguf.GGUFReader(out).tensors}
    assert kinds == {"F32", "Q8_0"}


def test_the_cost_of_another_pre_tokenizer_is_printed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeling.cli.export._COST_BYTES", 3000)
    model = write_model(tmp_path / "model", "python")
    result = run("export", model, tmp_path / "m.gguf", "--json")
    assert "llama.cpp has no pre-tokenizer like this model's" in result.stderr
    assert "measured on 3,000 bytes; a model with tokenizer.cut = " in result.stderr
    cut = json.loads(result.stdout)["cut"]
    assert cut["num_bytes"] == 3000
    assert cut["own_tokens"] != cut["other_tokens"]


@pytest.mark.parametrize(
    "to, kind, name", [("ctranslate2", "float32", "model.bin"), ("hf", "f32", "model.safetensors")]
)
def test_json_lists_the_files(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, kind: str, name: str
) -> None:
    def convert(source: ExportSource, path: Path, kind: str) -> list[Path]:
        """Stands for the converter, whose imports take seconds; its own tests run it."""
        path.mkdir()
        (path / "model.bin").write_text(kind)
        return [path / "model.bin"]

    monkeypatch.setattr("codeling.export.ctranslate2.write_ctranslate2", convert)
    values = json.loads(run("export", model, tmp_path / "out", "--to", to, "--json").stdout)
    assert (values["format"], values["type"], values["pushed"]) == (to, kind, None)
    assert name in {Path(file["path"]).name for file in values["files"]}
    for file in values["files"]:
        assert file["sha256"] == sha256_file(Path(file["path"]))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("m.gguf", "--type", "q4_0"), "--type q4_0: gguf has f16, f32, q8_0"),
        (("out", "--to", "ctranslate2", "--type", "f16"), "ctranslate2 has float32, int8"),
        (("m.gguf", "--push", "owner/name"), "--push goes with --to hf"),
        (("m", "--to", "hf", "--public"), "--public goes with --push"),
        (("model.bin",), "the name of a GGUF file ends in .gguf"),
        (("a\nb.gguf",), "a Modelfile cannot name such a file"),
        (("m.gguf", "--to", "hf"), "a folder is written, and .gguf is the ending of GGUF files"),
        (("m.gguf", "--to", "ctranslate2"), "a folder is written"),
        (("out", "--to", "hf", "--push", "a"), "--push a: write it as OWNER/NAME"),
        (("out", "--to", "hf", "--push", "a/b c"), "--push a/b c: "),
        (("my model/config.json/m.gguf",), "my model/config.json: a file, not a folder; give"),
        (("my model/config.json/out", "--to", "hf"), "my model/config.json: a file, not a folder"),
    ],
)
def test_wrong_use_is_one_line(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setattr("codeling.cli.extras.find_spec", lambda name: None)  # reported later
    with pytest.raises(UsageError) as caught:
        run("export", model, tmp_path / arguments[0], *arguments[1:])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["my model"]


def test_a_missing_package_names_the_extra(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeling.cli.extras.find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"gguf is not installed; pip install 'codeling\[export\]'"
    ):
        run("export", model, tmp_path / "m.gguf")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("arguments", [("/proc/x.gguf",), ("/proc/x", "--to", "hf")])
def test_a_place_where_nothing_can_be_created_is_one_line(
    model: Path, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(StorageError, match=f"^{arguments[0]}: nothing can be written there"):
        run("export", model, *arguments)


@pytest.mark.parametrize("existing", ["m.gguf", "m.Modelfile"])
def test_nothing_is_overwritten(model: Path, tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("mine")
    with pytest.raises(UsageError, match=f"{existing}: exists already; give a new file"):
        run("export", model, tmp_path / "m.gguf")
    assert (tmp_path / existing).read_text() == "mine"


def test_a_failed_upload_is_repeated_from_the_folder(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise StorageError("--push owner/name: no network")

    monkeypatch.setattr("codeling.export.hugging_face.push", fail)
    command = ("export", model, tmp_path / "out", "--to", "hf", "--push", "owner/name")
    with pytest.raises(StorageError, match="no network"):
        run(*command)
    (tmp_path / "out" / "README.md").write_text("# Edited\n")
    monkeypatch.setattr("codeling.export.hugging_face.push", lambda *_, **__: "https://hub/name")
    result = run(*command)
    assert "uploaded: https://hub/name" in result.stdout
    assert "contains this model already; uploading it as it is" in result.stderr
    assert (tmp_path / "out" / "README.md").read_text() == "# Edited\n"
    other = write_model(tmp_path / "other", "python")
    with pytest.raises(UsageError, match="out: exists already; give a new folder"):
        run("export", other, *command[2:])
