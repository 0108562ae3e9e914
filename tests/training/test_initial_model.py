"""A training that starts from a foreign model: another shape, another tokenizer."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, models, pre_tokenizers

from codeling.dataset.tokens import write_tokens
from codeling.errors import CodelingError, ModelError, TokenizerError, UsageError
from codeling.model import weights
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.pretokenizer import byte_decoder
from codeling.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer
from codeling.training.data import TrainingData
from codeling.training.initial_model import InitialModel
from codeling.training.samples import PromptSampler
from codeling.training.trainer import train

from .runs import RECIPE, after, assert_ended_the_same, changed, losses

VOCAB, CONTEXT = 300, 64


def foreign_tokenizer(*special: str) -> tokenizers.Tokenizer:
    """Bytes, a few merges, and special tokens at the end, with StarCoder's cut."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("s", "e"), ("se", "l"), ("sel", "f"), ("Ġ", "="), ("i", "n")]
    entries = [*letters, *("".join(pair) for pair in merges)]
    core = tokenizers.Tokenizer(models.BPE({e: n for n, e in enumerate(entries)}, merges))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    core.decoder = byte_decoder()
    core.add_special_tokens([AddedToken(name, special=True) for name in special])
    return core


def write_foreign(
    folder: Path, special: tuple[str, ...], **config: Any
) -> "transformers.GPT2LMHeadModel":
    """A random GPT-2 as transformers saves it, with more rows than its tokenizer has entries."""
    torch.manual_seed(1)
    shape = {"n_layer": 3, "n_head": 5, "n_embd": 40, "n_positions": CONTEXT, "vocab_size": VOCAB}
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**(shape | config), layer_norm_epsilon=1e-4)
    )
    model.save_pretrained(folder)
    foreign_tokenizer(*special).save(str(folder / "tokenizer.json"))
    return model.eval()


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    write_foreign(tmp_path / "foreign", ("<|endoftext|>",))
    return tmp_path / "foreign"


def network(initial: InitialModel, context: int, seed: int = 0) -> GPT2:
    model = GPT2(initial.config_for(context))
    found = initial.weights(context, seed)
    model.load_state_dict({name: torch.from_numpy(each) for name, each in found.items()})
    return model.eval()


def test_the_model_is_taken_over_to_the_logit(tmp_path: Path) -> None:
    theirs = write_foreign(tmp_path, SPECIAL_TOKENS)
    initial = InitialModel.load(str(tmp_path), 0.5)
    ids = torch.arange(20, 60)[None]
    for context in (CONTEXT, 48):
        with torch.inference_mode():
            ours, expected = network(initial, context)(ids), theirs(ids).logits
        assert initial.tokenizer.vocab_size == 266 == ours.shape[-1]  # rows of no token are gone
        torch.testing.assert_close(ours, expected[..., :266], atol=1e-5, rtol=1e-5)


def test_infilling_tokens_that_exist_keep_their_ids(tmp_path: Path) -> None:
    mixed = ("<fim_suffix>", "<|endoftext|>", "<fim_prefix>")
    write_foreign(tmp_path, mixed)
    initial = InitialModel.load(str(tmp_path), 0.5)
    tokenizer = initial.tokenizer
    assert (tokenizer.fim_suffix, tokenizer.end_of_text, tokenizer.fim_prefix) == (261, 262, 263)
    assert {tokenizer.fim_middle, tokenizer.padding} == {264, 265}
    assert InitialModel.load(str(tmp_path), 0.0).tokenizer.vocab_size == 264


def test_missing_infilling_tokens_get_average_rows_at_the_end(foreign: Path) -> None:
    initial = InitialModel.load(str(foreign), 0.5)
    shape = initial.shape
    assert (shape.own_vocab_size, shape.vocab_size, shape.cut) == (262, 266, None)
    rows = initial.weights(CONTEXT, 0)["wte.weight"]
    assert rows.shape == (266, 40)
    spread = rows[:262].std(0)
    assert (abs(rows[262:] - rows[:262].mean(0)) < spread).all()
    assert len(np.unique(rows[262:], axis=0)) == 4
    assert np.array_equal(initial.weights(CONTEXT, 0)["wte.weight"], rows)
    assert not np.array_equal(initial.weights(CONTEXT, 1)["wte.weight"], rows)
    assert InitialModel.load(str(foreign), 0.0).weights(9, 0)["wte.weight"].shape == (262, 40)


@pytest.mark.usefixtures("small_and_quick")
def test_stopped_and_resumed_ends_in_the_same_bits(
    foreign: Path, python_files: list[str], tmp_path: Path
) -> None:
    initial = InitialModel.load(str(foreign), 0.5)
    config, tokenizer = initial.config_for(48), initial.tokenizer
    train_split = write_tokens(python_files[:4], tokenizer, tmp_path / "train.bin")
    validation = write_tokens(python_files[4:5], tokenizer, tmp_path / "validation.bin")
    data, recipe = (
        TrainingData(tokenizer, train_split, validation),
        changed(RECIPE, fim_rate=0.7, adamw_lr=1e-3),
    )

    def initial_weights() -> dict[str, torch.Tensor]:
        return {k: torch.from_numpy(v) for k, v in initial.weights(48, 0).items()}

    def go(folder: Path, **options: Any) -> None:
        sample = PromptSampler(tokenizer)
        train(recipe, config, data, folder, sample=sample, **options)

    go(tmp_path / "whole", initial_weights=initial_weights)
    stop = after(5, tmp_path / "stopped")
    with pytest.raises(CodelingError, match="the same command continues"):
        go(tmp_path / "stopped", initial_weights=initial_weights, should_stop=stop)
    go(tmp_path / "stopped", initial_weights=lambda: pytest.fail("a resumed run reads its state"))
    assert_ended_the_same(tmp_path / "stopped", tmp_path / "whole")
    go(tmp_path / "random")
    assert losses(tmp_path / "random")[0] != losses(tmp_path / "whole")[0]


def test_the_digest_is_that_of_the_weights(foreign: Path) -> None:
    digests = InitialModel.load(str(foreign), 0.0).digests
    data = (foreign / "model.safetensors").read_bytes()
    assert digests["the weights of training.init"] == hashlib.sha256(data).hexdigest()
    write_foreign(foreign, ("<|endoftext|>",), initializer_range=0.03)
    assert InitialModel.load(str(foreign), 0.0).digests != digests


@pytest.mark.parametrize(
    "card, license_",
    [
        ("---\nlicense: bigcode-openrail-m\n---\n# A model\n", "bigcode-openrail-m"),
        ("# no metadata\n", None),
        ("---\nlicense: [\n---\n", None),
        (None, None),
    ],
)
def test_the_licence_is_that_of_the_card(
    foreign: Path, card: str | None, license_: str | None
) -> None:
    if card is not None:
        (foreign / "README.md").write_text(card)
    assert InitialModel.load(str(foreign), 0.0).license == license_


def test_mistakes_are_one_line(foreign: Path, tokenizer: Tokenizer) -> None:
    def complaint(kind: type[Exception], address: Path) -> str:
        with pytest.raises(kind) as caught:
            InitialModel.load(str(address), 0.5).weights(16, 0)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    message = complaint(UsageError, foreign / "nowhere")
    assert message.startswith("[training] init: ")
    assert "there is no such folder" in message
    tokenizer.save(foreign / "tokenizer.json")  # 512 entries for 300 rows
    assert "is not the model's tokenizer" in complaint(TokenizerError, foreign)
    foreign_tokenizer().save(str(foreign / "tokenizer.json"))
    assert "has no <|endoftext|> token" in complaint(TokenizerError, foreign)
    foreign_tokenizer("<|endoftext|>").save(str(foreign / "tokenizer.json"))
    (foreign / "model.safetensors").write_bytes(b"x" * 100)
    assert "not a safetensors file" in complaint(ModelError, foreign)
    config = json.loads((foreign / "config.json").read_bytes())
    (foreign / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    assert "only 'gpt2' is supported" in complaint(ModelError, foreign)


def test_a_tokenizer_of_another_run_is_refused(
    tokenizer: Tokenizer, foreign: Path, tmp_path: Path
) -> None:
    model = network(InitialModel.load(str(foreign), 0.0), 16)
    weights.save(tmp_path / "own", model, end_of_text_id=0, tokenizer_digest="2:other")
    foreign_tokenizer("<|endoftext|>").save(str(tmp_path / "own" / "tokenizer.json"))
    with pytest.raises(TokenizerError, match="is not the model's tokenizer"):
        InitialModel.load(str(tmp_path / "own"), 0.0)
