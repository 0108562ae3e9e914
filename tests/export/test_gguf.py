import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import tokenizers

from codeling.errors import ModelError, UsageError
from codeling.export import gguf as export
from codeling.export.export_source import ExportSource
from codeling.export.gguf import GGUFType, as_llama_cpp_cuts, gguf_name, write_gguf
from codeling.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer

from .conftest import WriteModel


def contents(reader: Any, name: str) -> Any:
    field = reader.get_field(name)
    return None if field is None else field.contents()


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
def test_the_file_has_every_tensor_of_the_model(
    source: ExportSource, tmp_path: Path, kind: GGUFType
) -> None:
    files = write_gguf(source, tmp_path / "m.gguf", kind)
    assert [path.name for path in files] == ["m.gguf", "m.Modelfile"]
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(files[0]).tensors}
    assert found.keys() == {gguf_name(name) for name in source.tensors}
    for name, tensor in source.tensors.items():
        stored = found[gguf_name(name)]
        values = gguf.quants.dequantize(stored.data, stored.tensor_type)
        is_matrix = tensor.ndim == 2 and not name.startswith("wpe")
        assert stored.tensor_type.name == (kind.upper() if is_matrix else "F32")
        expected = tensor.T if is_matrix and not name.startswith("wte") else tensor
        tolerance = {"f32": 0, "f16": 1e-3, "q8_0": 0.005}[kind]
        np.testing.assert_allclose(values, expected, atol=tolerance * abs(expected).max())


def test_the_vocabulary_is_the_tokenizers(
    write_model: WriteModel, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    source = ExportSource.read(str(write_model(padding=3)))
    reader = gguf.GGUFReader(write_gguf(source, tmp_path / "m.gguf", "f32")[0])
    tokens = contents(reader, "tokenizer.ggml.tokens")
    types = contents(reader, "tokenizer.ggml.token_type")
    assert tokens == [tokenizer.name_of(n) for n in range(512)] + [
        "[PAD512]",
        "[PAD513]",
        "[PAD514]",
    ]
    kinds = gguf.TokenType
    assert types[:5] == [kinds.CONTROL] * 5
    assert types[5:] == [kinds.NORMAL] * 507 + [kinds.UNUSED] * 3
    merges = json.loads(tokenizer.to_json())["model"]["merges"]
    assert contents(reader, "tokenizer.ggml.merges") == [" ".join(each) for each in merges]
    assert contents(reader, "tokenizer.ggml.pre") == "gpt-2"
    assert contents(reader, "tokenizer.ggml.add_bos_token") is False
    ids = [
        contents(reader, f"tokenizer.ggml.fim_{name}_token_id") for name in ("pre", "mid", "suf")
    ]
    assert ids == [tokenizer.fim_prefix, tokenizer.fim_middle, tokenizer.fim_suffix]
    assert contents(reader, "gpt2.context_length") == 64


def test_a_tokenizer_without_infilling_gets_a_plain_template(
    write_model: WriteModel, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    text = tokenizer.to_json()
    for name in SPECIAL_TOKENS[1:]:
        text = text.replace(name, name.strip("<>") + "!")
    core = tokenizers.Tokenizer.from_str(text)
    source = ExportSource.read(str(write_model(Tokenizer(core))))
    path, script = write_gguf(source, tmp_path / "m.gguf", "f32")
    assert contents(gguf.GGUFReader(path), "tokenizer.ggml.fim_pre_token_id") is None
    assert 'TEMPLATE """{{ .Prompt }}"""' in script.read_text()


@pytest.mark.parametrize(
    "rate, order",
    [
        (0.5, "<fim_prefix>{{ .Prompt }}<fim_suffix>{{ .Suffix }}<fim_middle>"),
        (1.0, "<fim_prefix><fim_suffix>{{ .Suffix }}<fim_middle>{{ .Prompt }}"),
    ],
)
def test_the_template_has_an_order_of_the_training(
    source: ExportSource, tmp_path: Path, rate: float, order: str
) -> None:
    config = json.loads((source.folder / "config.json").read_bytes())
    (source.folder / "config.json").write_text(json.dumps(config | {"fim_spm_rate": rate}))
    source = ExportSource.read(source.address)
    script = write_gguf(source, tmp_path / "m.gguf", "f32")[1].read_text()
    assert f"{{{{- if .Suffix }}}}{order}{{{{- else }}}}{{{{ .Prompt }}}}{{{{- end }}}}" in script
    assert script.startswith("FROM ./m.gguf\n")


def test_rows_that_q8_0_cannot_hold_are_f16(write_model: WriteModel, tmp_path: Path) -> None:
    source = ExportSource.read(str(write_model(width=40)))
    reader = gguf.GGUFReader(write_gguf(source, tmp_path / "m.gguf", "q8_0")[0])
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["token_embd.weight"] == "F16"
    assert kinds["blk.0.ffn_down.weight"] == "Q8_0"


def test_the_same_model_gives_the_same_bytes(source: ExportSource, tmp_path: Path) -> None:
    first, again = (write_gguf(source, tmp_path / f"{n}.gguf", "q8_0")[0] for n in "ab")
    assert first.read_bytes() == again.read_bytes()


def test_a_failed_write_leaves_nothing(source: ExportSource, tmp_path: Path) -> None:
    out = tmp_path / "out" / "m.gguf"
    with pytest.raises(UsageError, match="ends in"):
        write_gguf(source, out.with_suffix(".bin"), "f16")
    source.tensors["wte.weight"][3, 3] = 1e6
    with pytest.raises(ModelError, match="has weights too large for f16; export f32"):
        write_gguf(source, out, "f16")
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_a_vocabulary_without_merges_is_refused(
    write_model: WriteModel, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    rules = json.loads(tokenizer.to_json())
    rules["model"]["merges"] = []
    core = tokenizers.Tokenizer.from_str(json.dumps(rules))
    source = ExportSource.read(str(write_model(Tokenizer(core))))
    with pytest.raises(ModelError, match="reads no vocabulary without merges"):
        write_gguf(source, tmp_path / "m.gguf", "f16")


def test_a_file_that_reads_back_otherwise_gets_no_name(
    source: ExportSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = gguf.quants.dequantize

    def one_bit_wrong(data: Any, kind: Any) -> Any:
        values = np.array(original(data, kind))
        values.flat[-1] += 0.1
        return values

    monkeypatch.setattr(gguf.quants, "dequantize", one_bit_wrong)
    with pytest.raises(ModelError, match="differs from the model when read back"):
        write_gguf(source, tmp_path / "m.gguf", "q8_0")
    monkeypatch.undo()
    write = gguf.GGUFWriter.add_token_list
    monkeypatch.setattr(
        gguf.GGUFWriter, "add_token_list", lambda self, tokens: write(self, [*tokens[1:], "x"])
    )
    with pytest.raises(ModelError, match="the vocabulary differs from the model"):
        write_gguf(source, tmp_path / "m.gguf", "f32")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_llama_cpps_cut_is_known_for_the_tokenizers_that_it_has(
    tokenizer: Tokenizer, python_tokenizer: Tokenizer
) -> None:
    assert as_llama_cpp_cuts(tokenizer) is None
    other = as_llama_cpp_cuts(python_tokenizer)
    assert other is not None
    assert other.token_bytes == python_tokenizer.token_bytes
    text = "def f():\n    return 12345\n"
    assert other.decode(other.encode(text)) == text
    assert other.encode(text) != python_tokenizer.encode(text)


def test_every_name_of_llama_cpp_is_that_of_the_package() -> None:
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, 1)
    for name in ("wte", "wpe", "ln_f", *(f"h.0.{each}" for each in export._NAMES if "." in each)):
        expected = known.get_name(f"transformer.{name}") or known.get_name(name)
        assert gguf_name(f"{name}.weight") == f"{expected}.weight"


def test_a_modelfile_names_the_file_as_ollama_reads_it(
    source: ExportSource, tmp_path: Path
) -> None:
    """Its parser unquotes only what begins with a quote, and drops what is not printable."""
    name = 'o\'ut "q".gguf'
    script = write_gguf(source, tmp_path / name, "f32")[1].read_text()
    assert script.splitlines()[0] == f"FROM ./{name}"
    for other in ("a\nPARAMETER x.gguf", "a\u00a0b.gguf", "a\tb.gguf"):
        with pytest.raises(UsageError, match="a Modelfile cannot name such a file"):
            write_gguf(source, tmp_path / other, "f32")
