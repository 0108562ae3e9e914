"""The files of a run folder, as the report and the model card read them.

A file that is missing or damaged raises an :class:`~codeling.errors.InputError` whose text can be
shown on a page. ``docs/formats.md`` describes every file. This module must not know what is done
with the values.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from codeling import jsonl
from codeling.errors import InputError
from codeling.quantity import quantity

_INDEX_HEADER = struct.Struct("<8sIIQQ")
"""Magic, version, bytes per token id, number of documents, number of tokens."""


def read_json(run_folder: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file. :raises InputError: it is missing or damaged."""
    try:
        values = json.loads((run_folder / name).read_bytes())
    except OSError as error:
        raise _unreadable(name, error) from error
    except ValueError as error:
        raise InputError(f"{name} is damaged: it is not JSON") from error
    if not isinstance(values, dict):
        raise InputError(f"{name} is damaged: it does not hold a JSON object")
    return values


def read_json_lines(run_folder: Path, name: str) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file; an incomplete line is skipped.

    :raises InputError: the file is missing, or it is not empty and no line can be read.
    """
    path = run_folder / name
    try:
        num_bytes = path.stat().st_size
        lines = list(jsonl.read(path))
    except OSError as error:
        raise _unreadable(name, error) from error
    if num_bytes and not lines:
        raise InputError(f"{name} is damaged: no line holds a JSON object")
    return lines


def read_text(run_folder: Path, name: str) -> str:
    """A text file; undecodable bytes are replaced. :raises InputError: it cannot be read."""
    try:
        return (run_folder / name).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise _unreadable(name, error) from error


def num_split_tokens(run_folder: Path) -> int:
    """Tokens in the training split. :raises InputError: its index is missing or damaged."""
    name = "tokens/train.idx"
    try:
        with (run_folder / name).open("rb") as file:
            header = file.read(_INDEX_HEADER.size)
    except OSError as error:
        raise _unreadable(name, error) from error
    if len(header) < _INDEX_HEADER.size:
        raise InputError(f"{name} is damaged: it is too short")
    num_tokens: int = _INDEX_HEADER.unpack(header)[-1]
    return num_tokens


def num_parameters(run_folder: Path) -> int:
    """Parameters of the model folder. :raises InputError: its weights are missing or damaged."""
    name = "model/model.safetensors"
    try:
        with safe_open(run_folder / name, framework="numpy") as file:
            shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118
    except OSError as error:
        raise _unreadable(name, error) from error
    except SafetensorError as error:
        raise InputError(f"{name} is damaged: it is not a safetensors file") from error
    return sum(math.prod(shape) for shape in shapes)


def share_read(tokens_read: int, split_tokens: int) -> str:
    """The share of the training split that a run read, in words.

    Approximate: the tokens that separate and rearrange documents count as read.
    """
    times = tokens_read / max(1, split_tokens)
    if times > 1.05:
        return f"{times:.1f} times the {quantity(split_tokens, 'token')} of the training split"
    percent = f"{100 * times:.0f}" if times >= 0.1 else f"{100 * times:.2g}"
    return f"{percent} % of the {quantity(split_tokens, 'token')} of the training split"


def _unreadable(name: str, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{name} is missing")
    return InputError(f"{name} cannot be read ({error.strerror})")
