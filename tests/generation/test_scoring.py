import pytest

from codeling.evaluation.intrinsic import bits_per_byte
from codeling.generation.scoring import score
from codeling.model.config import GPT2Config
from codeling.tokenizer.tokenizer import Tokenizer

from .engines import random_model

CONTEXT = 32


@pytest.mark.parametrize("characters", [1, 40, 700])
def test_the_sum_over_a_document_is_its_nats_in_bits_per_byte(
    tokenizer: Tokenizer, python_files: list[str], characters: int
) -> None:
    model = random_model(GPT2Config(tokenizer.vocab_size, CONTEXT, 1, 2, 16))
    text = python_files[1][:characters]
    ids = [tokenizer.end_of_text, *tokenizer.encode(text)]
    scores = list(score(model, ids, 1))
    assert [each.id for each in scores] == ids[1:]
    nats = bits_per_byte(model, tokenizer, [text]).nats
    assert -sum(each.logprob for each in scores) == pytest.approx(nats, rel=1e-5)
    assert all(each.top[0][1] >= each.logprob for each in scores)


@pytest.mark.parametrize("ids", [[], [0]])
def test_ids_without_one_before_them_have_no_score(tokenizer: Tokenizer, ids: list[int]) -> None:
    model = random_model(GPT2Config(tokenizer.vocab_size, CONTEXT, 1, 2, 16))
    assert list(score(model, ids, 1)) == []
