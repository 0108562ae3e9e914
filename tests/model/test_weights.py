import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from codeling.errors import ModelError, UsageError
from codeling.model import folder as folder_module
from codeling.model import weights
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import Tokenizer

CONFIG = GPT2Config(vocab_size=61, context_length=32, n_layer=3, n_head=4, n_embd=32)


def random_model(seed: int = 0) -> GPT2:
    model = GPT2(CONFIG)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2, generator=generator)
    return model


def random_hugging_face_model(seed: int = 0) -> "transformers.GPT2LMHeadModel":
    torch.manual_seed(seed)
    values = CONFIG.to_hugging_face() | {"initializer_range": 0.2, "bos_token_id": 0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**values)).eval()


def batches() -> list[torch.Tensor]:
    """20 random batches."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(61, (1 + i % 4, 1 + (i * 7) % 32), generator=generator) for i in range(20)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    weights.save(tmp_path / "saved", random_model(), end_of_text_id=0, pad_id=4)
    return tmp_path / "saved"


@torch.inference_mode()
def test_transformers_computes_our_logits(folder: Path) -> None:
    ours = random_model()
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    for ids in batches():
        assert (ours(ids) - theirs(ids).logits).abs().max() <= 1e-4


@torch.inference_mode()
@pytest.mark.parametrize("shard", ["50GB", "40KB"])
def test_our_model_computes_the_logits_of_transformers(tmp_path: Path, shard: str) -> None:
    theirs = random_hugging_face_model()
    theirs.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / folder_module.INDEX).exists() == (shard == "40KB")
    ours, config = weights.load(tmp_path)
    assert config == CONFIG
    for ids in batches():
        assert (ours(ids) - theirs(ids).logits).abs().max() <= 1e-4


def test_weights_survive_a_round_trip_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    before = random_model().state_dict()
    model, config = weights.load(folder)
    assert config == CONFIG
    after = model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    weights.save(tmp_path / "again", model, end_of_text_id=0, pad_id=4)
    for name in (folder_module.CONFIG, folder_module.WEIGHTS, folder_module.GENERATION_CONFIG):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "generation_config.json", "model.safetensors",
    ]  # fmt: skip


def test_a_loaded_model_can_be_trained(folder: Path) -> None:
    model, _ = weights.load(folder)
    ids = torch.arange(12).view(2, 6)
    model.loss(ids, ids).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in model.parameters())


@torch.inference_mode()
def test_generate_of_transformers_avoids_our_forbidden_ids(tmp_path: Path) -> None:
    model = random_model()
    prompt = torch.tensor([[5, 6, 7]])
    favourite = int(model(prompt)[0, -1].argmax())
    weights.save(tmp_path, model, end_of_text_id=0, pad_id=4, suppressed_ids=[favourite])
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    assert favourite not in theirs.generate(prompt, max_new_tokens=12, do_sample=False)[0, 3:]


@pytest.mark.parametrize("prompt", ["def mean(xs):\n", "x = 1\n" * 9])
def test_the_transformers_pipeline_fills_the_context(
    tmp_path: Path, tokenizer: Tokenizer, prompt: str
) -> None:
    config = GPT2Config(tokenizer.vocab_size, 64, n_layer=1, n_head=2, n_embd=16)
    model = GPT2(config)
    model.initialize(0)
    ids = tokenizer.special_ids
    weights.save(tmp_path, model, end_of_text_id=0, pad_id=4, suppressed_ids=sorted(ids))
    tokenizer.save_for_hugging_face(tmp_path, config.context_length)
    complete = transformers.pipeline("text-generation", model=str(tmp_path))
    (answer,) = complete(prompt)
    written = answer["generated_text"].removeprefix(prompt)
    assert len(written) < len(answer["generated_text"])
    (token_ids,) = complete(prompt, return_tensors=True)
    assert len(token_ids["generated_token_ids"]) == config.context_length
    (answer,) = complete(prompt, max_new_tokens=3, return_tensors=True)
    assert len(answer["generated_token_ids"]) == len(tokenizer.encode(prompt)) + 3


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = {
        name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()
    }
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def strip_prefix(tensors: dict[str, torch.Tensor]) -> None:
    for name in list(tensors):
        tensors[name.removeprefix("transformer.")] = tensors.pop(name)


def add_head(tensors: dict[str, torch.Tensor]) -> None:
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()


def add_buffers(tensors: dict[str, torch.Tensor]) -> None:
    tensors["transformer.h.0.attn.bias"] = torch.ones(1, 1, 32, 32, dtype=torch.uint8)
    tensors["transformer.h.2.attn.masked_bias"] = torch.tensor(-1e4)


def widen(tensors: dict[str, torch.Tensor]) -> None:
    for name in tensors:
        tensors[name] = tensors[name].double()


@pytest.mark.parametrize("change", [strip_prefix, add_head, add_buffers, widen])
def test_variants_of_other_writers_load_the_same(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], None]
) -> None:
    rewrite(folder, change)
    after = weights.load(folder)[0].state_dict()
    assert all(torch.equal(after[name], t) for name, t in random_model().state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_fp32(folder: Path, dtype: torch.dtype) -> None:
    rewrite(folder, lambda tensors: tensors.update({k: v.to(dtype) for k, v in tensors.items()}))
    for name, tensor in weights.load(folder)[0].state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, random_model().state_dict()[name].to(dtype).float())


def truncated(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 5000)


def truncated_by_one(folder: Path) -> None:
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size - 1)


def empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def text_instead(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs\noid sha256:0\n")


def huge_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}")


def tensor_missing(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.pop("transformer.h.1.ln_1.bias"))


def tensor_unknown(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({"transformer.h.3.x": torch.ones(1)}))


def tensor_of_other_shape(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({"transformer.wpe.weight": torch.ones(31, 32)}))


def tensor_twice(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({"wpe.weight": torch.ones(32, 32)}))


def quantised(folder: Path) -> None:
    ones = torch.ones(32, 32, dtype=torch.int8)
    rewrite(folder, lambda tensors: tensors.update({"transformer.wpe.weight": ones}))


def not_finite(folder: Path) -> None:
    nan = torch.full((32, 32), torch.nan)
    rewrite(folder, lambda tensors: tensors.update({"transformer.wpe.weight": nan}))


def other_head(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({"lm_head.weight": torch.ones(61, 32)}))


def other_architecture(folder: Path) -> None:
    edit(folder / "config.json", model_type="llama")


def other_size(folder: Path) -> None:
    edit(folder / "config.json", n_layer=4)


def absurd_number_of_layers(folder: Path) -> None:
    edit(folder / "config.json", n_layer=10**9)


def absurd_width(folder: Path) -> None:
    edit(folder / "config.json", n_embd=10**12, n_inner=None)


def absurd_vocabulary(folder: Path) -> None:
    edit(folder / "config.json", vocab_size=10**12)


def config_missing(folder: Path) -> None:
    (folder / "config.json").unlink()


def config_broken(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def config_a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def pickled_alone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def shard_missing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def shard_elsewhere(folder: Path) -> None:
    shutil.move(folder / "model.safetensors", folder.parent / "secret.safetensors")
    index = {"weight_map": {"wte.weight": "../secret.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def index_broken(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": 3}')


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "damage, message",
    [
        (truncated, "model.safetensors: not a safetensors file, or damaged"),
        (truncated_by_one, "model.safetensors: not a safetensors file, or damaged"),
        (empty, "model.safetensors: not a safetensors file, or damaged"),
        (text_instead, "model.safetensors: not a safetensors file, or damaged"),
        (huge_header, "model.safetensors: not a safetensors file, or damaged"),
        (tensor_missing, "the weights lack h.1.ln_1.bias"),
        (tensor_unknown, "transformer.h.3.x is not a tensor of a GPT-2 of this size"),
        (tensor_of_other_shape, "transformer.wpe.weight has shape (31, 32), but config.json says"),
        (tensor_twice, "wpe.weight occurs twice"),
        (quantised, "transformer.wpe.weight is int8; quantized"),
        (not_finite, "transformer.wpe.weight contains values that are not finite"),
        (other_head, "lm_head.weight differs from wte.weight"),
        (other_architecture, "config.json: model_type is 'llama'"),
        (other_size, "the weights lack h.3.attn.c_attn.bias and 11 more"),
        (absurd_number_of_layers, "n_layer 1,000,000,000, but the weights have 40 tensors"),
        (absurd_width, "but config.json says"),
        (absurd_vocabulary, "but config.json says (1000000000000, 32)"),
        (config_missing, "config.json: cannot be read (No such file or directory)"),
        (config_broken, "config.json: not JSON"),
        (config_a_list, "config.json: not a JSON object"),
        (pickled_alone, "pytorch_model.bin is pickled, and pickles are never opened"),
        (no_weights, "no model.safetensors; pickled weights can be converted"),
        (shard_missing, "model-00001-of-00002.safetensors is missing"),
        (shard_elsewhere, "'../secret.safetensors' is not a file name in this folder"),
        (index_broken, "weight_map is missing"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_folder_is_refused_in_one_line(
    folder: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(folder)
    with pytest.raises(ModelError) as caught:
        weights.load(folder)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_truncated_anywhere_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    for size in [*range(64), *range(64, len(data), len(data) // 40)]:
        path.write_bytes(data[:size])
        with pytest.raises(ModelError, match="not a safetensors file, or damaged"):
            weights.load(folder)


def test_a_model_path_is_a_run_folder_or_a_hugging_face_folder(
    folder: Path, tmp_path: Path
) -> None:
    assert folder_module.resolve(str(folder)) == folder
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.toml").touch()
    with pytest.raises(
        UsageError,
        match=r"this run has no model yet; continue with `codeling run .*recipe\.toml --out ",
    ):
        folder_module.resolve(str(run))
    folder.rename(run / "model")
    assert folder_module.resolve(str(run)) == run / "model"


@pytest.mark.parametrize(
    "name, reason",
    [
        ("nowhere", "there is no such folder"),
        ("file", "it is a file"),
        ("empty", "it contains neither model/config.json nor config.json"),
    ],
)
def test_a_folder_that_is_not_a_model_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("empty").mkdir()
    with pytest.raises(UsageError) as caught:
        folder_module.resolve(name)
    assert str(caught.value) == (
        f"{name} is not a model ({reason}); give a run folder, a Hugging Face folder "
        "or hf://owner/name"
    )
    assert caught.value.exit_code == 2


def test_only_safetensors_and_json_are_downloaded(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    asked: dict[str, Any] = {}

    def snapshot_download(name: str, **values: Any) -> str:
        asked.update(values, name=name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert folder_module.resolve("hf://owner/name@v1.0") == folder
    assert (asked["name"], asked["revision"]) == ("owner/name", "v1.0")
    assert all(p.endswith((".safetensors", ".json", ".md")) for p in asked["allow_patterns"])


@pytest.mark.parametrize("name", ["hf://", "hf://name", "hf://a/b/c", "hf://a/--b..c"])
def test_an_invalid_hub_address_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="is not a model"):
        folder_module.resolve(name)


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(name: str, **values: Any) -> str:
        raise ConnectionError("no route to host\nand a long explanation")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(ModelError) as caught:
        folder_module.resolve("hf://owner/name")
    assert str(caught.value) == "hf://owner/name: cannot be downloaded (no route to host)"


@pytest.mark.parametrize(
    "name, reason", [("~no-such-user/x", "home directory"), ("x" * 5000, "File name too long")]
)
def test_a_path_that_the_system_refuses_is_a_usage_error(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"is not a model \(.*{reason}.*\); give a run folder"):
        folder_module.resolve(name)


def test_a_config_nested_too_deeply_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match=r"config\.json: not JSON"):
        weights.load(tmp_path)
