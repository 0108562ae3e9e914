"""Exported models give the same ids, the same text and the same bits per byte as the original.

RUN is a run folder; its held-out files, the standard library and the installed packages are the
texts. For each engine:

- ``ids``: texts, of N files and some odd ones, whose ids differ from ours (0 expected),
- ``greedy``: prompts whose continuation of 32 tokens differs, without those where the two best
  logits of the first difference are within 1e-3 (a tie in floating point; these are listed),
- ``bits per byte`` on the same windows, and their difference in percent.

transformers and CTranslate2 need the extra [export]; llama.cpp needs node-llama-cpp
(:mod:`benchmarks.generation.peers`). Each engine has one thread.

    python -m benchmarks.generation.exported runs/demo
    python -m benchmarks.generation.exported runs/demo --llama-cpp FOLDER --files 1000
"""

import argparse
import json
import math
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from benchmarks.generation.peers import CTranslate2, Ids, LlamaCpp
from codeling.corpus.document import iterate
from codeling.export.ctranslate2 import CTranslate2Type, write_ctranslate2
from codeling.export.export_source import ExportSource
from codeling.export.gguf import GGUFType, write_gguf
from codeling.export.hugging_face import write_hub_folder
from codeling.memory.project_files import read_text
from codeling.tokenizer.encoders import hard_texts
from codeling.tokenizer.tokenizer import SPECIAL_TOKENS

NUM_NEW, NUM_PROMPTS, NUM_WINDOWS = 32, 50, 60
TIE = 1e-3
"""Difference of the two best logits that rounding may reverse."""
ODD = (
    "\t\tx = 1\n", "a = 1\r\nb = 2\r\n", "a = 1\rb = 2\r", "x = '\U0001f469\u200d\U0001f4bb'\n",
    "\x00\x01\x07\x1b[0m\x7f", "\ufeffimport os\n", " \u00a0\u2028\u3000 x", "é e\u0301 ǅ ² ½ ٣",
    *SPECIAL_TOKENS, "".join(SPECIAL_TOKENS), "    \n\n\n        return  \n", "'''\\'\"", "",
)  # fmt: skip
"""Texts on which tokenizers are known to differ."""


def files(num_files: int) -> Iterator[str]:
    """Texts of installed Python files."""
    paths = sysconfig.get_paths()
    found = (path for key in ("stdlib", "purelib") for path in Path(paths[key]).rglob("*.py"))
    return islice(filter(None, map(read_text, sorted(set(found)))), num_files)


class Original:
    """The model as codeling runs it, in fp32."""

    def __init__(self, source: ExportSource, texts: list[str]) -> None:
        self.source, self.tokenizer = source, source.tokenizer
        self.context = source.config.context_length
        ids = [[self.tokenizer.end_of_text, *self.tokenizer.encode(text)] for text in texts]
        long = [each for each in ids if len(each) > self.context]
        half = self.context // 2
        self.windows = [each[: self.context] for each in long[:NUM_WINDOWS]]
        self.prompts = [each[: half - NUM_NEW + n] for n, each in enumerate(long[:NUM_PROMPTS])]
        self.infillings = [
            (text[: len(text) // 3][-200:], text[len(text) // 3 + 20 :][:200])
            for text in texts[:NUM_PROMPTS]
        ]
        self.num_bytes = sum(len(self.tokenizer.decode_bytes(each)) for each in self.windows)
        self.nats = math.fsum(sum(self.score(each)) for each in self.windows)

    @torch.inference_mode()
    def logits(self, ids: Ids) -> torch.Tensor:
        """Logits after each id, (T, V)."""
        logits: torch.Tensor = self.source.network(torch.tensor([ids]))[0]
        return logits

    def score(self, ids: Ids) -> list[float]:
        """Nats of each id but the first."""
        rows = torch.log_softmax(self.logits(ids[:-1]).double(), -1)
        nats: list[float] = (-rows[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]).tolist()
        return nats

    def continued(self, prompt: Ids) -> Ids:
        """Greedy continuation."""
        ids = list(prompt)
        for _ in range(NUM_NEW):
            ids.append(int(self.logits(ids)[-1].argmax()))
        return ids[len(prompt) :]

    def bits_per_byte(self, nats: float) -> float:
        """Bits per byte of the windows."""
        return nats / math.log(2) / self.num_bytes


def compare(
    original: Original, name: str, continued: Callable[[Ids], Ids], score: Callable[[Ids], float]
) -> dict[str, Any]:
    """Greedy continuations and bits per byte of one engine."""
    ties: list[tuple[int, float]] = []
    different: list[tuple[int, float]] = []
    for prompt in original.prompts:
        ours, theirs = original.continued(prompt), continued(prompt)
        place = next((n for n, (a, b) in enumerate(zip(ours, theirs)) if a != b), None)  # noqa: B905
        if place is None and len(theirs) == len(ours):
            continue
        place = len(theirs) if place is None else place
        if ours[place] == original.tokenizer.end_of_text:  # the other side stops there
            continue
        logits = original.logits([*prompt, *ours[:place]])[-1]
        best = logits.topk(2)
        gap = float(best.values[0] - best.values[1])
        (ties if gap < TIE else different).append((place, round(gap, 6)))
    nats = math.fsum(map(score, original.windows))
    own, other = original.bits_per_byte(original.nats), original.bits_per_byte(nats)
    return {
        "engine": name,
        "prompts": len(original.prompts),
        "different": different,
        "ties": ties,
        "bits_per_byte": round(other, 4),
        "original_bits_per_byte": round(own, 4),
        "percent": round(100 * (other / own - 1), 3),
    }


def llama_cpp(
    original: Original, out: Path, library: Path, texts: list[str]
) -> Iterator[dict[str, Any]]:
    """llama.cpp with each type of weights."""
    tokenizer = original.tokenizer
    for kind in get_args(GGUFType):
        path = out / f"model-{kind}.gguf"
        write_gguf(original.source, path, kind)
        engine = LlamaCpp(library, path, original.context)
        found: dict[str, Any] = {}
        if kind == "f16":
            wrong = []
            for start in range(0, len(texts), 50):
                part = texts[start : start + 50]
                pairs = zip(part, engine.tokenize(part), strict=True)
                wrong += [text[:60] for text, ids in pairs if ids != tokenizer.encode(text)]
            special = engine.special_tokens()
            own = (tokenizer.fim_prefix, tokenizer.fim_suffix, tokenizer.fim_middle)
            found = {
                "texts": len(texts),
                "other_ids": wrong,
                "infilling_tokens": tuple(special[n] for n in ("prefix", "suffix", "middle"))
                == own,
                **infillings(original, engine),
            }
        yield {**compare(original, f"llama.cpp {kind}", *_calls(engine)), **found}
        engine.close()


def _calls(engine: LlamaCpp | CTranslate2) -> tuple[Callable[[Ids], Ids], Callable[[Ids], float]]:
    """Greedy continuation and nats of ids."""
    return lambda ids: engine.continued(ids, NUM_NEW), lambda ids: math.fsum(engine.score(ids))


def infillings(original: Original, engine: LlamaCpp) -> dict[str, int]:
    """How many gaps its library fills, and how many with the ids that our model gives.

    Texts are not compared: ``llama_detokenize`` drops blanks before some punctuation of any
    tokenizer like GPT-2's. llama.cpp's server decodes token by token, which does not.
    """
    tokenizer = original.tokenizer
    tried = filled = same = 0
    for prefix, suffix in original.infillings:
        ids = [tokenizer.fim_prefix, *tokenizer.encode(prefix), tokenizer.fim_suffix]
        ids = [*ids, *tokenizer.encode(suffix), tokenizer.fim_middle]
        if len(ids) + NUM_NEW > original.context:
            continue
        tried += 1
        filled += bool(engine.infill(prefix, suffix, NUM_NEW))
        ends = [original.continued(ids), engine.continued(ids, NUM_NEW)]
        same += len({tuple(takewhile(lambda i: i != tokenizer.end_of_text, e)) for e in ends}) == 1
    return {"infillings": tried, "filled": filled, "same_ids": same}


def ctranslate2(original: Original, out: Path) -> Iterator[dict[str, Any]]:
    """CTranslate2 with each type of weights."""
    for kind in get_args(CTranslate2Type):
        folder = out / f"ctranslate2-{kind}"
        write_ctranslate2(original.source, folder, kind)
        engine = CTranslate2(folder, kind)
        yield compare(original, f"CTranslate2 {kind}", *_calls(engine))


def transformers(original: Original, out: Path, texts: list[str]) -> dict[str, Any]:
    """transformers with the folder for the Hub."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    write_hub_folder(original.source, out / "hub")
    model: Any = AutoModelForCausalLM.from_pretrained(out / "hub").eval()
    names: Any = AutoTokenizer.from_pretrained(out / "hub")
    wrong = []
    for start in range(0, len(texts), 200):
        part = texts[start : start + 200]
        found = names(part, split_special_tokens=True, verbose=False)["input_ids"]
        pairs = zip(part, found, strict=True)
        wrong += [text[:60] for text, ids in pairs if ids != original.tokenizer.encode(text)]

    @torch.inference_mode()
    def continued(ids: Ids) -> Ids:
        options = {"do_sample": False, "max_length": None, "eos_token_id": None}
        given = torch.tensor([ids])
        mask = torch.ones_like(given)
        options["suppress_tokens"] = None
        new: Any = model.generate(given, attention_mask=mask, max_new_tokens=NUM_NEW, **options)
        found: Ids = new[0, len(ids) :].tolist()
        return found

    @torch.inference_mode()
    def score(ids: Ids) -> float:
        rows = torch.log_softmax(model(torch.tensor([ids[:-1]])).logits[0].double(), -1)
        return float(-rows[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].sum())

    compared = compare(original, "transformers", continued, score)
    return {**compared, "texts": len(texts), "other_ids": wrong}


def main() -> None:
    """Compare every engine and print one JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", metavar="RUN", type=Path, help="run folder")
    parser.add_argument("--files", type=int, default=1000, help="files to tokenize for llama.cpp")
    parser.add_argument(
        "--transformers-files", type=int, default=10_000, help="files to tokenize for transformers"
    )
    parser.add_argument("--llama-cpp", type=Path, metavar="FOLDER", help="has node-llama-cpp")
    options = parser.parse_args()
    torch.set_num_threads(1)
    np.seterr(over="ignore")
    held_out = [document.text for document in iterate(options.model / "corpus", "test", "files")]
    original = Original(ExportSource.read(str(options.model)), held_out)
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        texts = [*ODD, *hard_texts(), *files(options.transformers_files)]
        print(json.dumps(transformers(original, out, texts)), flush=True)
        for found in ctranslate2(original, out):
            print(json.dumps(found), flush=True)
        if options.llama_cpp:
            texts = [*ODD, *hard_texts(), *files(options.files)]
            for found in llama_cpp(original, out, options.llama_cpp, texts):
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
