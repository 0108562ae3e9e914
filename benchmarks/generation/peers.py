"""Other engines for :mod:`benchmarks.generation.decode`, with the weights of one of our models.

Hugging Face ``generate`` in fp32, CTranslate2 in int8, and llama.cpp with weights of type q8_0,
each on one CPU thread. ``clock`` gives the times of greedy steps. CTranslate2 needs
the extra [bench]; llama.cpp is node-llama-cpp in a folder:

    npm install node-llama-cpp@3.21.1 --ignore-scripts
"""

import json
import subprocess
import time
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from codeling.model.gpt2 import GPT2

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
    """Write ``model`` as a Hugging Face folder, with a tokenizer of as many words as it has ids."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    shape = model.config.to_hugging_face() | {"bos_token_id": 0, "eos_token_id": 0}
    other: Any = GPT2LMHeadModel(GPT2Config(**shape))
    other.transformer.load_state_dict(model.state_dict())
    other.tie_weights()
    other.save_pretrained(folder)
    words = {_word(number): number for number in range(model.config.vocab_size)}
    names = {f"{name}_token": _word(0) for name in ("bos", "eos", "unk")}
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token=_word(0))), **names
    ).save_pretrained(folder)


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

        mask, options = torch.ones_like(ids), {"eos_token_id": None, "pad_token_id": 0}
        self._model.generate(
            ids, attention_mask=mask, past_key_values=cache, max_new_tokens=num_new,
            do_sample=False, stopping_criteria=[record], **options,
        )  # fmt: skip
        return clock


class CTranslate2:
    """A model in CTranslate2's format, converted from a Hugging Face folder."""

    def __init__(self, folder: Path) -> None:
        import ctranslate2

        self._generator = ctranslate2.Generator(
            str(folder), compute_type="int8", inter_threads=1, intra_threads=1
        )

    @staticmethod
    def convert(source: Path, target: Path) -> Path:
        """Convert a Hugging Face folder to ``target``, with int8 weights."""
        import ctranslate2

        converter = ctranslate2.converters.TransformersConverter(str(source))
        converter.convert(str(target), quantization="int8")
        return target

    def greedy(self, prompt: Ids) -> int:
        """See :class:`Side`."""
        return self._generate([prompt], 1, 0, lambda step: False)[0]

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
            [[_word(i) for i in prompt[num_cached:]] for prompt in prompts],
            static_prompt=[_word(i) for i in prompts[0][:num_cached]] or None,
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

    @staticmethod
    def convert(model: GPT2, target: Path) -> Path:
        """Write ``model`` as GGUF to ``target``; matrices are q8_0, the rest is fp32."""
        import gguf

        config = model.config
        writer = gguf.GGUFWriter(target, "gpt2")
        writer.add_context_length(config.context_length)
        writer.add_embedding_length(config.n_embd)
        writer.add_feed_forward_length(4 * config.n_embd)
        writer.add_block_count(config.n_layer)
        writer.add_head_count(config.n_head)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list([_word(number) for number in range(config.vocab_size)])
        writer.add_token_types([gguf.TokenType.NORMAL] * config.vocab_size)
        writer.add_token_merges([f"{_word(0)} {_word(1)}"])
        writer.add_eos_token_id(0)
        writer.add_add_bos_token(False)
        q8_0 = gguf.GGMLQuantizationType.Q8_0
        for name, tensor in model.state_dict().items():
            array, stored = tensor.numpy(), _gguf_name(name)
            if array.ndim == 1 or name.startswith("wpe"):
                writer.add_tensor(stored, array)
                continue
            rows = np.ascontiguousarray(array if name.startswith("wte") else array.T)
            writer.add_tensor(stored, gguf.quants.quantize(rows, q8_0), raw_dtype=q8_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return target

    def greedy(self, prompt: Ids) -> int:
        """See :class:`Side`."""
        token: int = self._ask([prompt], 1, 0)["ids"][0][0]
        return token

    def clock(self, prompts: list[Ids], num_new: int, num_cached: int = 0) -> list[float]:
        """See :class:`Side`."""
        times: list[float] = self._ask(prompts, num_new, num_cached)["times"]
        return times

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, prompts: list[Ids], num_new: int, num_cached: int) -> Any:
        request = {"prompts": prompts, "num_new": num_new, "num_cached": num_cached}
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


def _word(number: int) -> str:
    """The text of a token id, for libraries that want a vocabulary."""
    return f"<{number}>"


_GGUF_NAMES = {
    "wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}  # fmt: skip


def _gguf_name(name: str) -> str:
    """llama.cpp's name of one of our tensors."""
    module, kind = name.rsplit(".", 1)
    if module.startswith("h."):
        _, number, part = module.split(".", 2)
        return f"blk.{number}.{_GGUF_NAMES[part]}.{kind}"
    return f"{_GGUF_NAMES[module]}.{kind}"
