import math
from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from codeling.errors import ModelError
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2

SHAPES = [
    GPT2Config(1, 1, 1, 1, 1),
    GPT2Config(61, 32, 3, 4, 32),
    GPT2Config(300, 16, 1, 1, 8),
    GPT2Config(257, 128, 2, 3, 48),
    GPT2Config(4096, 512, 6, 4, 64, layer_norm_epsilon=1e-6),
]
GPT2_124M = GPT2Config(50257, 1024, 12, 12, 768)


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_num_parameters_equals_those_of_the_model(config: GPT2Config) -> None:
    model = GPT2(config)
    assert config.num_parameters == sum(p.numel() for p in model.parameters())
    embeddings = {"wte.weight", "wpe.weight"}
    blocks = [p for name, p in model.named_parameters() if name not in embeddings]
    assert config.num_block_parameters == sum(p.numel() for p in blocks)


def test_gpt2_sizes_have_their_published_numbers() -> None:
    assert GPT2_124M.num_parameters == 124_439_808
    medium = GPT2Config(50257, 1024, 24, 16, 1024)
    assert medium.num_parameters == 354_823_168
    assert GPT2_124M.head_dim == medium.head_dim == 64


def test_training_flops_equal_those_counted_by_torch() -> None:
    config = GPT2Config(vocab_size=211, context_length=128, n_layer=3, n_head=2, n_embd=32)
    model = GPT2(config)
    ids = torch.zeros(2, config.context_length, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model.loss(ids, ids).backward()  # type: ignore[no-untyped-call]
    counted = {str(op): count for op, count in counter.get_flop_counts()["Global"].items()}
    matrices = counted["aten.mm"] + counted["aten.addmm"]
    attention = counted["aten.bmm"]
    assert matrices + attention == sum(counted.values())
    per_token = config.n_layer * 12 * config.n_embd**2 + config.vocab_size * config.n_embd
    assert matrices == 6 * per_token * ids.numel()
    # With a single block of queries the masked half is computed too.
    assert matrices + attention / 2 == config.train_flops_per_token * ids.numel()


@pytest.mark.parametrize("config", [*SHAPES, GPT2_124M], ids=str)
def test_the_hugging_face_config_survives_a_round_trip(config: GPT2Config) -> None:
    values = config.to_hugging_face()
    assert GPT2Config.from_hugging_face(values) == config
    theirs = transformers.GPT2Config(**values)
    assert GPT2Config.from_hugging_face(theirs.to_dict()) == config
    for key, value in values.items():
        assert getattr(theirs, key) == value


def test_missing_keys_of_a_hugging_face_config_have_the_defaults_of_gpt2() -> None:
    given = ("model_type", "vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
    values = {key: GPT2_124M.to_hugging_face()[key] for key in given}
    assert GPT2Config.from_hugging_face(values) == GPT2_124M
    assert GPT2Config.from_hugging_face(values | {"n_inner": 3072}) == GPT2_124M


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "llama"}, "model_type is 'llama'"),
        ({"activation_function": "relu"}, "activation_function 'relu' is not supported"),
        ({"n_inner": 100}, "n_inner 100 is not supported"),
        ({"scale_attn_weights": False}, "scale_attn_weights False"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx True"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings False"),
        ({"add_cross_attention": True}, "add_cross_attention True"),
        ({"n_head": 5}, "n_embd 768 is not divisible by n_head 5"),
        ({"n_layer": 0}, "n_layer must be a positive integer, not 0"),
        ({"n_layer": True}, "n_layer must be a positive integer, not True"),
        ({"n_layer": 2.5}, "n_layer must be a positive integer, not 2.5"),
        ({"vocab_size": "50257"}, "vocab_size must be a positive integer, not '50257'"),
        ({"n_embd": None, "n_inner": 5}, "n_embd must be a positive integer, not None"),
        ({"layer_norm_epsilon": "tiny"}, "layer_norm_epsilon must be from 1e-30 to 1"),
        ({"layer_norm_epsilon": 1e300}, "layer_norm_epsilon must be from 1e-30 to 1"),
        ({"layer_norm_epsilon": math.nan}, "layer_norm_epsilon must be from 1e-30 to 1"),
    ],
    ids=str,
)
def test_another_architecture_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        GPT2Config.from_hugging_face(GPT2_124M.to_hugging_face() | changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head"])
def test_a_missing_size_is_named(key: str) -> None:
    values = GPT2_124M.to_hugging_face()
    del values[key]
    with pytest.raises(ModelError, match=f"missing {key}"):
        GPT2Config.from_hugging_face(values)
