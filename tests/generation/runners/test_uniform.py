"""The memory without a network continues what it has seen."""

import numpy as np

from codeling.generation.engine import Engine
from codeling.generation.runners.uniform import UniformRunner
from codeling.generation.scheduler import Batch, Row
from codeling.memory.gating.parameters import load_parameters
from codeling.memory.mixture import MemoryMixture
from codeling.tokenizer.tokenizer import Tokenizer


def test_all_tokens_are_equally_likely(tokenizer: Tokenizer) -> None:
    runner = UniformRunner(tokenizer.vocab_size, 64)
    rows = [Row(0, 0, [1, 2], num_logits=1), Row(1, 0, [3], num_logits=0)]
    logits = runner.copy().run(Batch([], rows, [None, None]))  # type: ignore[list-item]
    assert logits.shape == (1, tokenizer.vocab_size)
    assert np.ptp(logits) == 0


def test_a_memory_alone_continues_the_text_above(tokenizer: Tokenizer) -> None:
    engine = Engine(UniformRunner(tokenizer.vocab_size, 64), tokenizer)
    engine.memory = MemoryMixture(load_parameters(), tokenizer.token_bytes, with_model=False)
    text = "".join(f"def compute_{n}(value):\n    return value\n" for n in range(9))
    completion = engine.complete(text + "def compute_9(", max_new_tokens=4, stop="\n")
    assert completion.text.startswith("value):"[: len(completion.text)])
    assert completion.text
    copied = engine.copy()
    assert copied.complete(text + "def compute_9(", max_new_tokens=4, stop="\n") == completion
