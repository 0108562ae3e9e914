from pathlib import Path

import pytest
import torch

from codeling.adaptation.interpolation import NUM_STEPS, interpolate, old_validation_texts
from codeling.dataset.tokens import write_tokens
from codeling.evaluation.intrinsic import bits_per_byte
from codeling.generation.scoring import TorchScorer
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.run_folder import RunFolder
from codeling.tokenizer.tokenizer import Tokenizer


def network_of(tokenizer: Tokenizer, seed: int) -> GPT2:
    network = GPT2(GPT2Config(tokenizer.vocab_size, 32, 1, 2, 16))
    network.initialize(seed)
    return network.eval()


@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0])
def test_old_text_costs_no_more(
    tokenizer: Tokenizer, python_files: list[str], scale: float
) -> None:
    network, texts = network_of(tokenizer, 0), [text[:1500] for text in python_files[:3]]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * 0.1 * torch.randn(parameter.shape, generator=generator))
    after = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    share = interpolate(network, before, tokenizer, texts)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, torch.lerp(before[name], after[name], share))
    if scale == 0:
        assert share == 1.0
        return
    network.load_state_dict(before)
    most = bits_per_byte(TorchScorer(network), tokenizer, texts).value

    def cost(share: float) -> float:
        network.load_state_dict({k: torch.lerp(before[k], after[k], share) for k in before})
        return bits_per_byte(TorchScorer(network), tokenizer, texts).value

    assert cost(share) <= most or share == 1 / NUM_STEPS
    assert share == 1.0 or cost(share + 1 / NUM_STEPS) > most


def test_the_old_text_is_passages_of_the_validation_split(
    tokenizer: Tokenizer, python_files: list[str], tmp_path: Path
) -> None:
    tokenizer.save(tmp_path / "tokenizer" / "tokenizer.json")
    short, long = "x = 1\n", "".join(f"value_{number} = {number}\n" for number in range(4000))
    texts = [*python_files[:4], short, long]
    write_tokens(texts, tokenizer, tmp_path / "tokens" / "validation.bin")
    found = old_validation_texts(RunFolder(tmp_path))
    assert len(found) == len(texts)
    for passage, text in zip(found, texts, strict=True):
        assert f"\n{passage}" in f"\n{text}", "a passage begins with a line"
        assert 0 < len(passage.encode()) <= 6000
    assert found[-2] == short
    assert not long.startswith(found[-1]), "passages lie anywhere in their documents"
    library = old_validation_texts(None)
    assert library
    assert old_validation_texts(RunFolder(tmp_path / "nowhere")) == library
