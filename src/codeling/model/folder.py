"""Find and read a model folder: a plain Hugging Face GPT-2 of JSON and safetensors.

Reads what ``GPT2LMHeadModel.save_pretrained`` writes and the variants of other writers: with or
without the prefix ``transformer.``, sharded, in half precision, with the tied head stored, with the
mask buffers of old versions. Nothing is ever unpickled. This module must not know torch, tokenizers
or training.

Format: https://github.com/huggingface/safetensors.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open

from codeling import hub
from codeling.errors import InputError, ModelError, UsageError
from codeling.manifest import sha256_file
from codeling.model.config import GPT2Config
from codeling.run_folder import find_run_folder

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
GENERATION_CONFIG = "generation_config.json"
MODEL_CARD = "README.md"
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth")
MODEL_FOLDER = "model"
"""Name of the model folder in a run folder."""

PREFIX = "transformer."
"""Prefix of Hugging Face's tensor names."""
TOKENIZER_DIGEST = "tokenizer_sha256"
"""Key of ``config.json`` with the tokenizer's digest. Other readers ignore it."""
FIM_SPM_RATE = "fim_spm_rate"
"""Key of ``config.json`` with the share of infillings that were in SPM order in training."""
_CTRANSLATE2 = ("model.bin", "vocabulary.json")
"""Files of CTranslate2's format."""
_MAX_CARD_BYTES = 4 << 20
"""A larger model card is not read."""
_MAX_CARD_TEXT, _MAX_CARD_NUMBER = 200, 1e15
"""A longer text of a card is cut; a larger number is left out."""
_HEAD = "lm_head.weight"
_EMBEDDING = "wte.weight"
_OLD_BUFFER = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")
_FLOAT_TYPES = ("F32", "F64", "F16", "BF16")
_DOWNLOADED = (
    CONFIG, GENERATION_CONFIG, INDEX, "model.safetensors", "model-*.safetensors",
    "tokenizer.json", "tokenizer_config.json", MODEL_CARD,
)  # fmt: skip

Tensors = dict[str, NDArray[np.float32]]
"""The tensors of a GPT-2 by name, without :data:`PREFIX`."""


def resolve(model: str) -> Path:
    """The folder of ``model``: a run folder, a Hugging Face folder, or ``hf://owner/name``.

    ``hf://owner/name`` or ``hf://owner/name@revision`` is downloaded once, JSON and safetensors
    only, and then read from the cache.

    :raises UsageError: there is no such folder, or it contains no model.
    :raises ModelError: the download failed.
    """
    if not model:
        raise UsageError(
            "the model's name is empty; give a run folder, a Hugging Face folder or hf://owner/name"
        )
    if model.startswith(hub.SCHEME):
        return _download(model)
    try:
        folder = Path(model).expanduser()
        for candidate in (folder / MODEL_FOLDER, folder):
            if (candidate / CONFIG).is_file():
                _refuse_ctranslate2(candidate, model)
                return candidate
    except (OSError, RuntimeError) as error:  # a name that is too long, an unknown ~user
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).rstrip(".")
        raise UsageError(
            f"{model[:80]} is not a model ({reason}); "
            "give a run folder, a Hugging Face folder or hf://owner/name"
        ) from error
    if not folder.exists():
        reason = "there is no such folder"
    elif not folder.is_dir():
        reason = "it is a file" + " for llama.cpp" * (folder.suffix == ".gguf")
    elif (run := find_run_folder(folder)) and (run.model / CONFIG).is_file():
        reason = f"the model of this run is {run.model}"
    elif run:
        again = "the command that began it"
        if run.recipe.is_file():
            path, out = shlex.quote(str(run.recipe)), shlex.quote(str(run.path))
            again = f"`codeling run {path} --out {out}`"
        raise UsageError(f"{model}: this run has no model yet; continue with {again}")
    else:
        reason = f"it contains neither {MODEL_FOLDER}/{CONFIG} nor {CONFIG}"
    raise UsageError(
        f"{model} is not a model ({reason}); give a run folder, a Hugging Face folder or hf://owner/name"
    )


def _refuse_ctranslate2(folder: Path, model: str) -> None:
    """:raises UsageError: ``folder`` is a model in CTranslate2's format."""
    if all((folder / name).is_file() for name in _CTRANSLATE2) and not (folder / WEIGHTS).exists():
        raise UsageError(
            f"{model} is a model for CTranslate2, which codeling writes and does not read; "
            "give the model that it was made from"
        )


def tokenizer_digest(folder: Path) -> str | None:
    """The tokenizer's digest that :func:`codeling.model.weights.save` has stored.

    None for folders of other writers.

    :raises ModelError: ``config.json`` cannot be read.
    """
    return _read_json(folder / CONFIG).get(TOKENIZER_DIGEST)


def fim_spm_rate(folder: Path) -> float | None:
    """The share of infillings that were in SPM order in training.

    None for folders of other writers and of earlier versions.

    :raises ModelError: ``config.json`` cannot be read.
    """
    return _read_json(folder / CONFIG).get(FIM_SPM_RATE)


def read_card_metadata(folder: Path) -> dict[str, Any]:
    """The metadata of a folder's model card; empty if there is none, or it cannot be read."""
    from huggingface_hub.repocard import metadata_load

    card = folder / MODEL_CARD
    try:
        usable = card.is_file() and card.stat().st_size <= _MAX_CARD_BYTES
        found = metadata_load(card) if usable else None
    except Exception:  # a card from elsewhere may contain anything
        return {}
    return found if isinstance(found, dict) else {}


def named_license(folder: Path) -> str | None:
    """The licence in the metadata of a folder's model card; None if there is none."""
    return card_text(read_card_metadata(folder).get("license")) or None


def card_text(value: Any) -> str:
    """A text or number of a model card as one printable line; empty for anything else."""
    if not isinstance(value, str):
        is_number = isinstance(value, int | float) and abs(value) < _MAX_CARD_NUMBER
        return str(value) if is_number else ""
    line = " ".join(value[: 10 * _MAX_CARD_TEXT].split())
    return "".join(each for each in line if each.isprintable())[:_MAX_CARD_TEXT]


def read_config(folder: Path) -> GPT2Config:
    """The sizes of the model in ``folder``.

    :raises ModelError: ``config.json`` cannot be read, or is not a GPT-2's.
    """
    values = _read_json(folder / CONFIG)
    try:
        return GPT2Config.from_hugging_face(values)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error


def read_tensors(folder: Path, config: GPT2Config) -> Tensors:
    """All tensors of the model in ``folder``, in fp32, checked against ``config``.

    :raises ModelError: a file is missing or damaged; a tensor is missing, unknown, of the wrong
        shape or not finite; the head is not tied; or there are only pickled weights.
    """
    files = weight_files(folder)
    num_stored = sum(_count_tensors(path) for path in files)
    if config.n_layer > num_stored:  # before a list of that length is made
        raise ModelError(
            f"{folder}: {CONFIG} says n_layer {config.n_layer:,}, but the weights have "
            f"{num_stored:,} tensors"
        )
    expected = config.tensor_shapes
    tensors: Tensors = {}
    head: NDArray[np.float32] | None = None
    for path in files:
        for name, tensor in _read_file(path, expected):
            if name == _HEAD:
                head = tensor
            elif name in tensors:
                raise ModelError(f"{path}: {name} occurs twice")
            else:
                tensors[name] = tensor
    missing = sorted(expected.keys() - tensors.keys())
    if missing:
        raise ModelError(f"{folder}: the weights lack {_first_and_count(missing)}")
    if head is not None and not np.array_equal(head, tensors[_EMBEDDING]):
        raise ModelError(
            f"{folder}: {_HEAD} differs from {_EMBEDDING}; only a tied head is supported"
        )
    return tensors


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not JSON ({error})") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: not a JSON object")
    return values


def weight_files(folder: Path) -> list[Path]:
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


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the weights of a folder; of several files, that of the list of their digests.

    :raises ModelError: there are no weights.
    """
    digests = [sha256_file(path) for path in weight_files(folder)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


def _read_file(
    path: Path, expected: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The tensors of one file by our names, checked against the ``expected`` shapes."""
    with _safetensors_errors(path), safe_open(path, framework="numpy") as file:
        names = sorted(file.keys())
        kinds = {name: file.get_slice(name).get_dtype() for name in names}
        bf16 = _read_bf16(path) if "BF16" in kinds.values() else {}
        for stored in names:
            name = stored.removeprefix(PREFIX)
            if _OLD_BUFFER.fullmatch(name):
                continue
            shape = expected.get(_EMBEDDING if name == _HEAD else name)
            if shape is None:
                raise ModelError(f"{path}: {stored} is not a tensor of a GPT-2 of this size")
            actual = file.get_slice(stored).get_shape()
            if tuple(actual) != shape:
                raise ModelError(
                    f"{path}: {stored} has shape {_shape(actual)}, "
                    f"but {CONFIG} says {_shape(shape)}"
                )
            if kinds[stored] not in _FLOAT_TYPES:
                kind = kinds[stored].replace("I", "int").replace("U", "uint").lower()
                raise ModelError(f"{path}: {stored} is {kind}; quantized weights are not supported")
            tensor = bf16.get(stored)
            if tensor is None:
                tensor = file.get_tensor(stored).astype(np.float32)
            if not np.isfinite(tensor).all():
                raise ModelError(f"{path}: {stored} contains values that are not finite")
            yield name, tensor


def _count_tensors(path: Path) -> int:
    with _safetensors_errors(path), safe_open(path, framework="numpy") as file:
        return len(list(file.keys()))


@contextmanager
def _safetensors_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: not a safetensors file, or damaged ({_one_line(error)})"
        ) from error


def _read_bf16(path: Path) -> Tensors:
    """The bf16 tensors of a file by their stored names, in fp32: numpy has no bf16."""
    stored: list[tuple[str, dict[str, Any]]]
    stored = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    found: Tensors = {}
    for name, tensor in stored:
        if tensor["dtype"] == "BF16":  # the upper half of an fp32
            halves = np.frombuffer(tensor["data"], "<u2").reshape(tensor["shape"])
            found[name] = (halves.astype(np.uint32) << 16).view(np.float32)
    return found


def _download(model: str) -> Path:
    try:
        path = hub.parse(model).path
    except UsageError:
        path = ""
    if path is not None:
        raise UsageError(f"{model} is not a model; write it as hf://owner/name")
    try:
        return hub.download(model, _DOWNLOADED, repo_type="model")
    except UsageError as error:
        reason = str(error).removeprefix(f"{model}: ")
        raise UsageError(f"{model} is not a model ({reason})") from error
    except InputError as error:
        raise ModelError(str(error)) from error


def _shape(sizes: Sequence[int]) -> str:
    return f"({', '.join(str(size) for size in sizes)})"


def _first_and_count(names: Sequence[str]) -> str:
    """The first of ``names`` and the number of the others."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
