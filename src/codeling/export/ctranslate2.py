"""CTranslate2's format, made by its own converter from the Hugging Face folder.

The converted model's logits on a fixed text are compared with ours before the folder gets its name.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from codeling.errors import ModelError, first_line_of
from codeling.export.export_source import ExportSource, check, new_folder
from codeling.model.folder import CONFIG

CTranslate2Type = Literal["float32", "int8"]

_TEXT = "import os\n\n\ndef read(path):\n    with open(path) as file:\n        return file.read()\n"
_MAX_DIVERGENCE = {"float32": 1e-4, "int8": 0.05}
"""Largest mean Kullback-Leibler divergence from our distribution, in nats per token."""


def write_ctranslate2(source: ExportSource, path: Path, kind: CTranslate2Type) -> list[Path]:
    """Write the folder ``path`` and return its files.

    :raises UsageError: ``path`` exists.
    :raises ModelError: the converter refuses the model, or its logits differ.
    :raises StorageError: the folder cannot be written.
    """
    from ctranslate2.converters import TransformersConverter

    with new_folder(path) as partial:
        files = ["tokenizer.json", "tokenizer_config.json"]
        copied = [name for name in files if (source.folder / name).is_file()]
        converter = TransformersConverter(str(source.folder), copy_files=copied)
        try:
            with warnings.catch_warnings(), _without_progress_bars():
                warnings.simplefilter("ignore")  # of transformers
                converter.convert(str(partial), quantization=kind, force=True)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            raise ModelError(
                f"{source.folder / CONFIG}: CTranslate2 cannot convert it ({first_line_of(error)})"
            ) from error
        divergence = _divergence(source, partial)
        check(divergence <= _MAX_DIVERGENCE[kind], f"{path}: the distribution of the next token")
    return sorted(each for each in path.iterdir() if each.is_file())


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Hides the bars that transformers draws while it loads weights."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _divergence(source: ExportSource, folder: Path) -> float:
    """Mean divergence of the converted model's distribution from ours, in nats per token."""
    import ctranslate2
    import torch

    tokenizer, config = source.tokenizer, source.config
    ids = [tokenizer.end_of_text, *tokenizer.encode(_TEXT)][: config.context_length]
    generator = ctranslate2.Generator(str(folder), device="cpu", intra_threads=1)
    view: Any = generator.forward_batch([ids], return_log_probs=True)
    theirs = np.array(view)[0].astype(np.float64)[:, : tokenizer.vocab_size]
    with torch.inference_mode():
        logits = source.network(torch.tensor([ids]))[0, :, : tokenizer.vocab_size].double()
    ours = torch.log_softmax(logits, -1).numpy()
    theirs -= np.log(np.exp(theirs).sum(-1, keepdims=True))
    return float((np.exp(ours) * (ours - theirs)).sum(-1).mean())
