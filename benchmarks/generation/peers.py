"""Other engines with an exported model: for :mod:`benchmarks.generation.decode` and ``exported``.

Hugging Face ``generate`` in fp32, CTranslate2 in int8, and llama.cpp with weights of type q8_0,
each on one CPU thread. ``clock`` gives the times of greedy steps. CTranslate2 needs
the extra [bench]; llama.cpp is node-llama-cpp in a folder:

    npm install node-llama-cpp@3.22.1 --ignore-scripts
"""

import json
import subprocess
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import tokenizers
import torch
from tokenizers import AddedToken, models, pre_tokenizers

from codeling.export.hugging_face import write_model_folder
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.pretokenizer import byte_decoder, pre_tokenizer_named
from codeling.tokenizer.tokenizer import END_OF_TEXT, Tokenizer

NUM_SEQUENCES = 8
"""Largest batch."""

Ids = list[int]


class Side(Protocol):
    """An engine with a model, on one CPU thread."""

    def clock(self, prompts: list[Ids], num_new: int, num_cached: int = 0) -> list[float]:
        """Seconds at the start and after each greedy step of all ``prompts`` together.

        The first ``num_cached`` tokens of each prompt are in the cache before the start.
        """

    def greedy(self, prompt: Ids) -> int:
        """The most probable next token."""


def write_folder(model: GPT2, folder: Path) -> None:
    """Write ``model`` as a Hugging Face folder, with a tokenizer of as many entries."""
    write_model_folder(folder, model, tokenizer_of(model.config.vocab_size), "# Random weights\n")


def tokenizer_of(vocab_size: int) -> Tokenizer:
    """``<|endoftext|>``, the 256 bytes, one merge, and entries that no text has."""
    entries = [END_OF_TEXT, *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
    entries += [f"<{number}>" for number in range(len(entries), vocab_size)]
    ids = {entry: number for number, entry in enumerate(entries)}
    core = tokenizers.Tokenizer(models.BPE(ids, [("a", "b")]))
    core.pre_tokenizer = pre_tokenizer_named("gpt2")
    core.decoder = byte_decoder()
    core.add_special_tokens([AddedToken(END_OF_TEXT, special=True)])
    return Tokenizer(core)


class HuggingFace:
    """``GPT2LMHeadModel.generate`` in fp32."""

    def __init__(self, folder: Path) -> None:
        from transformers import GPT2LMHeadModel

        self._model: Any = GPT2LMHeadModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def greedy(self, prompt: Ids) -> int:
        """See :class:`Side`."""
        return int(self._model(torch.tensor([prompt])).logits[0, -1].argmax())

    def clock(self, prompts: list[Ids], num_new: int, num_cached: int = 0) -> list[float]:
        """See :class:`Side`."""
        ids, cache = torch.tensor(prompts), None
        if num_cached:
            with torch.inference_mode():
                prefix = self._model(ids[:, :num_cached], use_cache=True, logits_to_keep=1)
            cache = prefix.past_key_values
        clock = [time.perf_counter()]

        def record(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            clock.append(time.perf_counter())
            return torch.zeros(len(ids), dtype=torch.bool)

        mask = torch.ones_like(ids)
        options = {"eos_token_id": None, "pad_token_id": 0, "max_length": None}
        self._model.generate(
            ids, attention_mask=mask, past_key_values=cache, max_new_tokens=num_new,
            do_sample=False, stopping_criteria=[record], **options,
        )  # fmt: skip
        return clock


class CTranslate2:
    """A model in CTranslate2's format, converted from a Hugging Face folder."""

    def __init__(self, folder: Path, kind: str = "int8") -> None:
        import ctranslate2

        tokenizer = Tokenizer.load(folder)
        self._names = [tokenizer.name_of(number) for number in range(tokenizer.vocab_size)]
        self._generator = ctranslate2.Generator(
            str(folder), compute_type=kind, inter_threads=1, intra_threads=1
        )

    def greedy(self, prompt: Ids) -> int:
        """See :class:`Side`."""
        return self._generate([prompt], 1, 0, lambda step: False)[0]

    def continued(self, prompt: Ids, num_new: int) -> Ids:
        """Greedy continuation of ``prompt``."""
        return self._generate([prompt], num_new, 0, lambda step: False)

    def score(self, ids: Ids) -> list[float]:
        """Negative log-likelihood in nats of each of ``ids`` but the first."""
        found: Any = self._generator.score_batch([[self._names[i] for i in ids]])
        return [-each for each in found[0].log_probs]

    def clock(self, prompts: list[Ids], num_new: int, num_cached: int = 0) -> list[float]:
        """See :class:`Side`. The cached prefix is CTranslate2's static prompt."""
        if num_cached:
            assert len(prompts) == 1, "a static prompt is shared by all prompts"
            self._generate([prompts[0][: num_cached + 1]], 1, num_cached, lambda step: False)
        numbers = count(1)
        clock = [time.perf_counter()]

        def record(step: Any) -> bool:
            if next(numbers) % len(prompts) == 0:
                clock.append(time.perf_counter())
            return False

        self._generate(prompts, num_new, num_cached, record)
        return clock

    def _generate(self, prompts: list[Ids], num_new: int, num_cached: int, record: Any) -> Ids:
        """Run greedy decoding; return the tokens of the first prompt."""
        found = self._generator.generate_batch(
            [[self._names[i] for i in prompt[num_cached:]] for prompt in prompts],
            static_prompt=[self._names[i] for i in prompts[0][:num_cached]] or None,
            max_length=num_new,
            min_length=num_new,
            include_prompt_in_result=False,
            callback=record,
        )
        ids: Ids = found[0].sequences_ids[0]
        return ids


class LlamaCpp:
    """llama.cpp in a process of node-llama-cpp."""

    def __init__(self, library: Path, model: Path, context_length: int) -> None:
        """``library`` is the folder in which node-llama-cpp was installed."""
        module = library.resolve() / "node_modules/node-llama-cpp/dist/index.js"
        script = Path(__file__).with_suffix("").with_name("llama_cpp.mjs")
        self._process = subprocess.Popen(
            ["node", script, module, model, str(context_length), str(NUM_SEQUENCES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.num_bytes: int = self._reply()["num_bytes"]
        """Growth of the process's resident memory by the model."""

    def tokenize(self, texts: Sequence[str]) -> list[Ids]:
        """Ids of each text; names of special tokens are text."""
        ids: list[Ids] = self._ask(texts=list(texts))["ids"]
        return ids

    def special_tokens(self) -> dict[str, int | None]:
        """Ids that the model file names: ``prefix``, ``suffix``, ``middle`` and ``eos``."""
        found: dict[str, int | None] = self._ask(special=True)
        return found

    def score(self, ids: Ids) -> list[float]:
        """Negative log-likelihood in nats of each of ``ids`` but the first."""
        nats: list[float] = self._ask(scored=ids)["nats"]
        return nats

    def continued(self, prompt: Ids, num_new: int) -> Ids:
        """Greedy continuation of ``prompt``."""
        ids: Ids = self._ask(prompts=[prompt], num_new=num_new, num_cached=0)["ids"][0]
        return ids

    def infill(self, prefix: str, suffix: str, num_new: int) -> str:
        """What llama.cpp's library puts between ``prefix`` and ``suffix``, greedily."""
        text: str = self._ask(prefix=prefix, suffix=suffix, num_new=num_new)["text"]
        return text

    def greedy(self, prompt: Ids) -> int:
        """See :class:`Side`."""
        return self.continued(prompt, 1)[0]

    def clock(self, prompts: list[Ids], num_new: int, num_cached: int = 0) -> list[float]:
        """See :class:`Side`."""
        request = {"prompts": prompts, "num_new": num_new, "num_cached": num_cached}
        times: list[float] = self._ask(**request)["times"]
        return times

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._reply()

    def _reply(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"node-llama-cpp ended with exit code {self._process.wait()}")
        return json.loads(line)
