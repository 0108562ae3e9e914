"""A completion of a fixed prompt, so that a person can watch a model learn."""

from codeling.generation.engine import Engine
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import Tokenizer

SAMPLE_PROMPT = 'def read_lines(path):\n    """Return the lines of a text file."""\n'
_MAX_NEW_TOKENS = 64


class PromptSampler:
    """Completes :data:`SAMPLE_PROMPT` with a model in training."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __call__(self, model: GPT2) -> dict[str, str]:
        """Return ``prompt`` and ``completion``."""
        engine = Engine.from_model(model, self._tokenizer)
        completion = engine.complete(SAMPLE_PROMPT, max_new_tokens=_MAX_NEW_TOKENS)
        return {"prompt": SAMPLE_PROMPT, "completion": completion.text}
