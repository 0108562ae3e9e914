"""GGUF, the format of llama.cpp and Ollama: weights and tokenizer in one file.

llama.cpp cuts text before BPE by rules that it knows by name. GPT-2's is one of them, so a model
with ``tokenizer.cut = "gpt2"`` gets the same ids there. Another cut is written as ``gpt-2`` too:
the same vocabulary, but other ids for some texts. :func:`as_llama_cpp_cuts` gives that tokenizer,
so that the cost can be measured.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and llama.cpp's reader of the
architecture ``gpt2``. GPT-2's matrices are (in, out), GGUF's (out, in).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from codeling.errors import ModelError, UsageError
from codeling.export.export_source import ExportSource, check, check_new_file
from codeling.manifest import replacing, write_bytes
from codeling.tokenizer.pretokenizer import llama_cpp_name, pre_tokenizer_named
from codeling.tokenizer.tokenizer import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, Tokenizer

GGUFType = Literal["f32", "f16", "q8_0"]

_Q8_BLOCK = 32
"""Weights that share one scale."""

_NAMES = {
    "wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}  # fmt: skip


@dataclass(frozen=True)
class _StoredTensor:
    name: str
    data: NDArray[Any]
    """As stored: blocks of q8_0 are bytes."""
    kind: Any
    """Its ``GGMLQuantizationType``."""
    original: NDArray[np.float32]


def write_gguf(source: ExportSource, path: Path, kind: GGUFType) -> list[Path]:
    """Write ``path`` and a Modelfile beside it; returns both.

    Norms, biases and positions stay in fp32. In ``q8_0`` a matrix with rows that are not a multiple
    of 32 is stored in f16, as llama.cpp's converter does.

    :raises UsageError: as :func:`check_new_gguf`.
    :raises ModelError: a weight does not fit into the type, or the file differs when read back.
    :raises StorageError: a file cannot be written.
    """
    import gguf

    check_new_gguf(path)
    tensors = list(_stored_tensors(source, kind))
    with replacing(path) as partial:
        writer = gguf.GGUFWriter(partial, "gpt2")
        _add_metadata(writer, source, kind)
        _add_tokenizer(writer, source)
        for tensor in tensors:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        _read_back(partial, source.tokenizer, tensors)
    script = _script(path)
    write_bytes(script, _modelfile(source, path.name).encode())
    return [path, script]


def check_new_gguf(path: Path) -> None:
    """Refuse a path that :func:`write_gguf` would not write. Nothing is written.

    Ollama reads the file's name up to the end of the line, quotes and blanks as they are, and
    leaves out what is not printable: https://github.com/ollama/ollama/blob/main/parser/parser.go.

    :raises UsageError: it does not end in ``.gguf``, the name has characters that are not
        printable, or it or its Modelfile exists.
    :raises StorageError: no file can be created there.
    """
    if path.suffix != ".gguf":
        raise UsageError(f"{path}: the name of a GGUF file ends in .gguf")
    if not path.name.isprintable():
        raise UsageError(f"{path.name!r}: a Modelfile cannot name such a file; give another OUT")
    check_new_file(path)
    check_new_file(_script(path))


def _script(path: Path) -> Path:
    return path.with_suffix(".Modelfile")


def as_llama_cpp_cuts(tokenizer: Tokenizer) -> Tokenizer | None:
    """The same vocabulary with the cut that llama.cpp will use; None if that is its own."""
    text = tokenizer.to_json()
    if llama_cpp_name(text) is not None:
        return None
    import tokenizers

    core = tokenizers.Tokenizer.from_str(json.dumps({**json.loads(text), "normalizer": None}))
    core.pre_tokenizer = pre_tokenizer_named("gpt2")
    return Tokenizer(core)


def gguf_name(name: str) -> str:
    """llama.cpp's name of one of GPT-2's tensors."""
    module, part = name.rsplit(".", 1)
    if module.startswith("h."):
        _, number, module = module.split(".", 2)
        return f"blk.{number}.{_NAMES[module]}.{part}"
    return f"{_NAMES[module]}.{part}"


def _stored_tensors(source: ExportSource, kind: GGUFType) -> Iterator[_StoredTensor]:
    import gguf

    kinds = gguf.GGMLQuantizationType
    for name, tensor in source.tensors.items():
        if tensor.ndim == 1 or name.startswith("wpe"):
            yield _StoredTensor(gguf_name(name), tensor, kinds.F32, tensor)
            continue
        rows = np.ascontiguousarray(tensor if name.startswith("wte") else tensor.T)
        stored = kinds[kind.upper()]
        if kind == "q8_0" and rows.shape[1] % _Q8_BLOCK:
            stored = kinds.F16
        with np.errstate(over="ignore"):
            data = gguf.quants.quantize(rows, stored)
        if stored == kinds.F16 and not np.isfinite(data).all():
            raise ModelError(f"{source.folder}: {name} has weights too large for f16; export f32")
        yield _StoredTensor(gguf_name(name), data, stored, rows)


def _add_metadata(writer: Any, source: ExportSource, kind: GGUFType) -> None:
    import gguf

    config = source.config
    file_types = {
        "f32": gguf.LlamaFileType.ALL_F32,
        "f16": gguf.LlamaFileType.MOSTLY_F16,
        "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    }
    writer.add_name(source.name)
    writer.add_description(f"exported by codeling {metadata.version('codeling')}")
    writer.add_tags(["text-generation", "python", "code"])
    if source.license:
        writer.add_license(source.license)
    writer.add_file_type(file_types[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(4 * config.n_embd)
    writer.add_block_count(config.n_layer)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)


def _add_tokenizer(writer: Any, source: ExportSource) -> None:
    tokens, types = _entries(source)
    tokenizer = source.tokenizer
    rules = json.loads(tokenizer.to_json())
    pairs = rules["model"].get("merges", ())
    merges = [each if isinstance(each, str) else " ".join(each) for each in pairs]
    if not merges:
        raise ModelError(f"{source.folder}: llama.cpp reads no vocabulary without merges")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(llama_cpp_name(tokenizer.to_json()) or "gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokenizer.end_of_text)
    writer.add_eos_token_id(tokenizer.end_of_text)
    writer.add_pad_token_id(tokenizer.padding)
    writer.add_add_bos_token(False)
    if tokenizer.can_infill:
        writer.add_uint32("tokenizer.ggml.fim_pre_token_id", tokenizer.fim_prefix)
        writer.add_uint32("tokenizer.ggml.fim_suf_token_id", tokenizer.fim_suffix)
        writer.add_uint32("tokenizer.ggml.fim_mid_token_id", tokenizer.fim_middle)
        writer.add_uint32("tokenizer.ggml.fim_pad_token_id", tokenizer.padding)


def _entries(source: ExportSource) -> tuple[list[str], list[Any]]:
    """Text and type of every row of the embedding."""
    import gguf

    tokenizer, kinds = source.tokenizer, gguf.TokenType
    added = {each["id"] for each in json.loads(tokenizer.to_json())["added_tokens"]}
    tokens, types = [], []
    for number in range(source.config.vocab_size):
        name = tokenizer.name_of(number)
        if not name:
            tokens.append(f"[PAD{number}]")
            types.append(kinds.UNUSED)
            continue
        tokens.append(name)
        if number in tokenizer.special_ids:
            types.append(kinds.CONTROL)
        else:
            types.append(kinds.USER_DEFINED if number in added else kinds.NORMAL)
    return tokens, types


def _read_back(path: Path, tokenizer: Tokenizer, tensors: list[_StoredTensor]) -> None:
    """:raises ModelError: the file does not hold the vocabulary and the weights."""
    import gguf

    reader = gguf.GGUFReader(path)
    entries = reader.get_field("tokenizer.ggml.tokens")
    stored = entries.contents() if entries else []
    own = [tokenizer.name_of(number) for number in range(tokenizer.vocab_size)]
    check(stored[: len(own)] == own, f"{path}: the vocabulary")
    found = {tensor.name: tensor for tensor in reader.tensors}
    check(found.keys() == {tensor.name for tensor in tensors}, f"{path}: the list of tensors")
    for tensor in tensors:
        data = found[tensor.name].data
        check(data.tobytes() == tensor.data.tobytes(), f"{path}: {tensor.name}")
        values = gguf.quants.dequantize(data, tensor.kind)
        check(_is_close(values, tensor), f"{path}: {tensor.name}")


def _is_close(values: NDArray[np.float32], tensor: _StoredTensor) -> bool:
    """Whether ``values`` are the weights, up to the rounding of their type."""
    original = tensor.original
    if values.shape != original.shape:
        return False
    name = tensor.kind.name
    if name == "F32":
        return np.array_equal(values, original)
    if name == "F16":
        return np.allclose(values, original, rtol=2**-10, atol=2**-24)
    blocks = original.reshape(-1, _Q8_BLOCK)
    step = abs(blocks).max(1, keepdims=True) / 127
    # Half a step, and the rounding of the scale to f16, which 127 steps multiply.
    return bool((abs(values.reshape(blocks.shape) - blocks) <= 0.57 * step + 127 * 2**-24).all())


def _modelfile(source: ExportSource, file_name: str) -> str:
    """The Modelfile for ``ollama create NAME -f FILE``."""
    template = "{{ .Prompt }}"
    if source.tokenizer.can_infill:
        order = [FIM_PREFIX, "{{ .Prompt }}", FIM_SUFFIX, "{{ .Suffix }}", FIM_MIDDLE]
        if source.fim_spm_rate == 1:  # it has seen no other order
            order = [FIM_PREFIX, FIM_SUFFIX, "{{ .Suffix }}", FIM_MIDDLE, "{{ .Prompt }}"]
        template = f"{{{{- if .Suffix }}}}{''.join(order)}{{{{- else }}}}{template}{{{{- end }}}}"
    return (
        f"FROM ./{file_name}\n"
        f'TEMPLATE """{template}"""\n'
        f"PARAMETER num_ctx {source.config.context_length}\n"
        "PARAMETER temperature 0\n"
    )
