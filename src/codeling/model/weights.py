"""Save and load a model folder: a plain Hugging Face GPT-2 of JSON and safetensors.

:func:`save` writes what ``GPT2LMHeadModel.save_pretrained`` writes. :func:`load` reads that and the
variants of other writers: with or without the prefix ``transformer.``, sharded, in half precision,
with the tied head stored, with the mask buffers of old versions. Nothing is ever unpickled. This
module must not know about tokenizers or training.

Format: https://github.com/huggingface/safetensors.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from codeling import hub
from codeling.errors import InputError, ModelError, UsageError
from codeling.manifest import replacing, write_json
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
GENERATION_CONFIG = "generation_config.json"
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth")
MODEL_FOLDER = "model"
"""Name of the model folder in a run folder."""

_PREFIX = "transformer."
_TOKENIZER = "tokenizer_sha256"
"""Key of ``config.json`` with the tokenizer's digest. Other readers ignore it."""
_HEAD = "lm_head.weight"
_EMBEDDING = "wte.weight"
_OLD_BUFFER = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")
_FLOAT_TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_DOWNLOADED = (
    CONFIG, GENERATION_CONFIG, INDEX, "model.safetensors", "model-*.safetensors",
    "tokenizer.json", "tokenizer_config.json",
)  # fmt: skip


def save(
    folder: Path,
    model: GPT2,
    *,
    end_of_text_id: int,
    pad_id: int | None = None,
    suppressed_ids: Sequence[int] = (),
    tokenizer_digest: str | None = None,
) -> None:
    """Write ``config.json``, ``generation_config.json`` and ``model.safetensors`` (fp32).

    ``generate`` stops at the context length and never picks ``suppressed_ids``, like our engine.
    ``tokenizer_digest`` is stored in ``config.json``, so that a foreign tokenizer is detected. Each
    file is replaced atomically, the weights last. The same weights give the same bytes.

    :raises StorageError: a file cannot be written.
    """
    special: dict[str, Any] = {"bos_token_id": end_of_text_id, "eos_token_id": end_of_text_id}
    if pad_id is not None:
        special["pad_token_id"] = pad_id
    config = {**model.config.to_hugging_face(), **special, "torch_dtype": "float32"}
    if tokenizer_digest is not None:
        config[_TOKENIZER] = tokenizer_digest
    write_json(folder / CONFIG, config)
    generation: dict[str, Any] = {**special, "max_length": model.config.context_length}
    if suppressed_ids:
        generation["suppress_tokens"] = sorted(suppressed_ids)
    write_json(folder / GENERATION_CONFIG, generation)
    tensors = {
        _PREFIX + name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in model.state_dict().items()
    }
    with replacing(folder / WEIGHTS) as partial:
        save_file(tensors, partial, metadata={"format": "pt"})


def tokenizer_digest(folder: Path) -> str | None:
    """The tokenizer's digest that :func:`save` has stored; None for folders of other writers.

    :raises ModelError: ``config.json`` cannot be read.
    """
    return _read_json(folder / CONFIG).get(_TOKENIZER)


def load(folder: Path) -> tuple[GPT2, GPT2Config]:
    """Read a model folder, in fp32 on the CPU.

    :raises ModelError: a file is missing or damaged; a tensor is missing, unknown, of the wrong
        shape or not finite; the head is not tied; the architecture is not GPT-2; or there are only
        pickled weights.
    """
    config = _read_config(folder / CONFIG)
    with torch.device("meta"):
        model = GPT2(config)
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    tensors: dict[str, Tensor] = {}
    head: Tensor | None = None
    for path in _weight_files(folder):
        for name, tensor in _read_tensors(path, expected):
            if name == _HEAD:
                head = tensor
            elif name in tensors:
                raise ModelError(f"{path}: {name} occurs twice")
            else:
                tensors[name] = tensor
    missing = sorted(expected.keys() - tensors.keys())
    if missing:
        raise ModelError(f"{folder}: the weights lack {_first_and_count(missing)}")
    if head is not None and not torch.equal(head, tensors[_EMBEDDING]):
        raise ModelError(
            f"{folder}: {_HEAD} differs from {_EMBEDDING}; only a tied head is supported"
        )
    model.load_state_dict(tensors, assign=True)
    return model, config


def resolve(model: str) -> Path:
    """The folder of ``model``: a run folder, a Hugging Face folder, or ``hf://owner/name``.

    ``hf://owner/name`` or ``hf://owner/name@revision`` is downloaded once, JSON and safetensors
    only, and then read from the cache.

    :raises UsageError: there is no such folder, or it contains no model.
    :raises ModelError: the download failed.
    """
    if model.startswith(hub.SCHEME):
        return _download(model)
    folder = Path(model).expanduser()
    for candidate in (folder / MODEL_FOLDER, folder):
        if (candidate / CONFIG).is_file():
            return candidate
    if not folder.exists():
        reason = "there is no such folder"
    elif not folder.is_dir():
        reason = "it is a file"
    elif (folder / "recipe.toml").is_file():
        reason = "this run has no finished model yet; finish it with `codeling run`"
    else:
        reason = f"it contains neither {MODEL_FOLDER}/{CONFIG} nor {CONFIG}"
    raise UsageError(
        f"{model} is not a model ({reason}); give a run folder, a Hugging Face folder or hf://owner/name"
    )


def _read_config(path: Path) -> GPT2Config:
    values = _read_json(path)
    try:
        return GPT2Config.from_hugging_face(values)
    except ModelError as error:
        raise ModelError(f"{path.parent}: {error}") from error


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{path}: not JSON ({error})") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: not a JSON object")
    return values


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: one, or the shards named in its index."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / INDEX
    if not index.is_file():
        pickled = [name for name in PICKLED if (folder / name).exists()]
        raise ModelError(
            f"{folder}: no {WEIGHTS}"
            + (f"; {pickled[0]} is pickled, and pickles are never opened" if pickled else "")
            + "; pickled weights can be converted with transformers: "
            "AutoModelForCausalLM.from_pretrained(OLD).save_pretrained(NEW)"
        )
    shards = _read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(v, str) for v in shards.values()):
        raise ModelError(f"{index}: weight_map is missing or does not map names to files")
    names = sorted(set(shards.values()))
    for name in names:
        if Path(name).name != name:
            raise ModelError(f"{index}: {name!r} is not a file name in this folder")
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: {name} is missing, but {INDEX} names it")
    return [folder / name for name in names]


def _read_tensors(path: Path, expected: Mapping[str, torch.Size]) -> list[tuple[str, Tensor]]:
    """The tensors of one file by our names, in fp32, checked against the ``expected`` shapes."""
    found = []
    try:
        with safe_open(path, framework="pt") as file:
            for stored in sorted(file.keys()):
                name = stored.removeprefix(_PREFIX)
                if _OLD_BUFFER.fullmatch(name):
                    continue
                shape = expected.get(_EMBEDDING if name == _HEAD else name)
                if shape is None:
                    raise ModelError(f"{path}: {stored} is not a tensor of a GPT-2 of this size")
                actual = file.get_slice(stored).get_shape()
                if list(actual) != list(shape):
                    raise ModelError(
                        f"{path}: {stored} has shape {_shape(actual)}, "
                        f"but {CONFIG} says {_shape(shape)}"
                    )
                found.append((name, _to_fp32(path, stored, file.get_tensor(stored))))
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: not a safetensors file, or damaged ({_one_line(error)})"
        ) from error
    return found


def _to_fp32(path: Path, stored: str, tensor: Tensor) -> Tensor:
    if tensor.dtype not in _FLOAT_TYPES:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ModelError(f"{path}: {stored} is {kind}; quantized weights are not supported")
    tensor = tensor.to(torch.float32, copy=True)  # not a view of the mapped file
    if not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"{path}: {stored} contains values that are not finite")
    return tensor


def _download(model: str) -> Path:
    try:
        if hub.parse(model).path is None:
            return hub.download(model, _DOWNLOADED, repo_type="model")
    except UsageError as error:
        raise UsageError(f"{model} is not a model ({error})") from error
    except InputError as error:
        raise ModelError(str(error)) from error
    raise UsageError(f"{model} is not a model: write it as hf://owner/name")


def _shape(sizes: Sequence[int]) -> str:
    return f"({', '.join(str(size) for size in sizes)})"


def _first_and_count(names: Sequence[str]) -> str:
    """The first of ``names`` and the number of the others."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
