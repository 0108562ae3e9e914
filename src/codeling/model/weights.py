"""Save and load the weights of a model folder (:mod:`codeling.model.folder`) with torch.

:func:`save` writes what ``GPT2LMHeadModel.save_pretrained`` writes. This module must not know about
tokenizers or training.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from codeling.manifest import replacing, write_json
from codeling.model.config import GPT2Config
from codeling.model.folder import (
    CONFIG,
    FIM_SPM_RATE,
    GENERATION_CONFIG,
    PREFIX,
    TOKENIZER_DIGEST,
    WEIGHTS,
    read_config,
    read_tensors,
)
from codeling.model.gpt2 import GPT2


def save(
    folder: Path,
    model: GPT2,
    *,
    end_of_text_id: int,
    pad_id: int | None = None,
    suppressed_ids: Sequence[int] = (),
    tokenizer_digest: str | None = None,
    fim_spm_rate: float | None = None,
) -> None:
    """Write ``config.json``, ``generation_config.json`` and ``model.safetensors`` (fp32).

    ``generate`` stops at the context length and never picks ``suppressed_ids``, like our engine.
    ``tokenizer_digest`` is stored in ``config.json``, so that a foreign tokenizer is detected, and
    ``fim_spm_rate``, so that infillings are asked for in an order of the training. Each file is
    replaced atomically, the weights last. The same weights give the same bytes.

    :raises StorageError: a file cannot be written.
    """
    special: dict[str, Any] = {"bos_token_id": end_of_text_id, "eos_token_id": end_of_text_id}
    if pad_id is not None:
        special["pad_token_id"] = pad_id
    config = {**model.config.to_hugging_face(), **special, "torch_dtype": "float32"}
    if tokenizer_digest is not None:
        config[TOKENIZER_DIGEST] = tokenizer_digest
    if fim_spm_rate is not None:
        config[FIM_SPM_RATE] = fim_spm_rate
    write_json(folder / CONFIG, config)
    generation: dict[str, Any] = {**special, "max_length": model.config.context_length}
    if suppressed_ids:
        generation["suppress_tokens"] = sorted(suppressed_ids)
    write_json(folder / GENERATION_CONFIG, generation)
    tensors = {
        PREFIX + name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in model.state_dict().items()
    }
    with replacing(folder / WEIGHTS) as partial:
        save_file(tensors, partial, metadata={"format": "pt"})


def load(folder: Path) -> tuple[GPT2, GPT2Config]:
    """Read a model folder, in fp32 on the CPU.

    :raises ModelError: a file is missing or damaged; a tensor is missing, unknown, of the wrong
        shape or not finite; the head is not tied; the architecture is not GPT-2; or there are only
        pickled weights.
    """
    config = read_config(folder)
    tensors = read_tensors(folder, config)
    with torch.device("meta"):
        model = GPT2(config)
    model.load_state_dict(
        {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, assign=True
    )
    return model, config
