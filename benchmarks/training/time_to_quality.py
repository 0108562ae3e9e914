"""Claim: the bits per byte of a tuned Hugging Face run, in a fifth of its time.

One corpus (this machine's installed Python, built once into the run folder), one held-out text in
bytes, the same blocks (layers, heads, width) for all sides:

- **A**: transformers' Trainer with bf16 on (where it is not emulated), GPT-2's byte-level BPE
  trained anew, overflow chunks of 128 tokens as in the Hugging Face course (chapter 7.6), AdamW,
  warm-up of 5 % and a cosine, both by the clock, so that they end when its ``--minutes`` do. Each
  of ``--rates`` is first tried for a fifth of them, then each of ``--rows`` at the best rate; the
  best of both is what A trains with.
- **A'**: the course as written: rate 5e-4, 32 rows at a time and 8 of them a step, warm-up of
  1,000 steps, fp32, for the same time.
- **B**: ``codeling train`` for a fifth of A's minutes and for a tenth (``--shares``), as the preset
  is. It should reach A's end in a fifth of the time, and that of A' in a tenth.

Bits per byte of all sides by the same code: windows of the side's own context, every token once,
with at least half a context before it. Time is that of training alone; measuring stands outside.
Prints the curves' points, and how long A and A' took to what B came to; draws all curves into one
picture. Curves stand one a line in OUT/curves.jsonl and are not trained again: what was stopped
goes on with the curve it was at.  Run:  python -m benchmarks.training.time_to_quality --minutes 20
"""

import argparse
import functools
import json
import math
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codeling.corpus.document import iterate
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import read_recipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training.checkpoint import state
from codeling.training.machine import choose_device, multiplies_bf16

Curve = list[tuple[float, float]]
"""(seconds of training, bits per byte of the held-out text)."""
CHUNK = 128
"""The course's context."""
POINTS = 12
"""Measurements of a curve; of a trial there is one, at its end."""
WINDOWS = 16
"""Scored at a time."""


def bits_per_byte(
    logits: Callable[[torch.Tensor], torch.Tensor],
    encode: Callable[[str], list[int]],
    texts: Sequence[str],
    start: int,
    context: int,
) -> float:
    """Of ``texts``, each after the id ``start``, which ``encode`` does not give."""
    half, num_bytes = context // 2, sum(len(text.encode()) for text in texts)
    windows: dict[int, list[tuple[list[int], int]]] = defaultdict(list)  # by length
    for text in texts:
        ids = [start, *encode(text)]
        for begin in range(0, max(1, len(ids) - 1 - half), half):
            window = ids[begin : begin + context + 1]
            windows[len(window)].append((window, half if begin else 0))
    nats = 0.0
    with torch.no_grad():
        for alike in windows.values():
            for first in range(0, len(alike), WINDOWS):
                batch = alike[first : first + WINDOWS]
                rows = torch.tensor([window for window, _ in batch])
                scored = torch.log_softmax(logits(rows[:, :-1]).float(), -1)
                found = scored.gather(2, rows[:, 1:, None])[..., 0].double()
                for row, (_, skip) in zip(found, batch, strict=True):
                    nats -= float(row[skip:].sum())
    return nats / math.log(2) / num_bytes


def corpus_texts(folder: Path, split: str) -> list[str]:
    """The documents of a split."""
    return [document.text for document in iterate(folder / "corpus", split, "files")]


def overflow_chunks(path: Path, tokenizer: Any, texts: list[str]) -> NDArray[np.uint16]:
    """All whole chunks of all texts, (N, CHUNK), made before the clock starts and once; what is
    left of a text at its end is dropped, as in the course.
    """
    if not path.exists():
        found = []
        for begin in range(0, len(texts), 256):
            for ids in tokenizer(texts[begin : begin + 256])["input_ids"]:
                whole = len(ids) // CHUNK * CHUNK
                found.append(np.array(ids[:whole], np.uint16).reshape(-1, CHUNK))
        np.save(path, np.concatenate(found))
    chunks: NDArray[np.uint16] = np.load(path)
    return chunks


def hugging_face(
    folder: Path, shape: GPT2Config, texts: list[str], held_out: list[str], seconds: float,
    *, rate: float, rows: int, accumulation: int, bf16: bool, warm_up: float | int,
    points: int = POINTS,
) -> Curve:  # fmt: skip
    """Train as the course does for so long; a curve."""
    import transformers
    from tokenizers import ByteLevelBPETokenizer

    path = folder / "gpt2-bpe.json"
    if not path.exists():
        learned = ByteLevelBPETokenizer()
        learned.train_from_iterator(
            texts, vocab_size=shape.vocab_size, special_tokens=["<|endoftext|>"],
            show_progress=False,
        )  # fmt: skip
        learned.save(str(path))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        eos_token="<|endoftext|>",  # noqa: S106
    )

    chunks = overflow_chunks(folder / "gpt2-chunks.npy", tokenizer, texts)

    class Chunks(torch.utils.data.Dataset[dict[str, list[int]]]):  # the Trainer shuffles these
        def __len__(self) -> int:
            return len(chunks)

        def __getitem__(self, number: int) -> dict[str, list[int]]:
            chunk = chunks[number].tolist()
            return {"input_ids": chunk, "labels": chunk}

    config = shape.to_hugging_face() | {
        "n_positions": CHUNK, "vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**config))
    curve: Curve = []

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        begun, outside = time.perf_counter(), 0.0

        def elapsed(self) -> float:
            return time.perf_counter() - self.begun - self.outside

        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self.begun = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            done = self.elapsed()
            ended = done >= seconds
            if ended or done >= (len(curve) + 1) * seconds / points:
                self.measure(done)
            control.should_training_stop = ended

        def fraction(self, step: int) -> float:
            """Of the peak rate: warm-up, then a cosine that ends when the time does."""
            done = self.elapsed() / seconds
            if isinstance(warm_up, int):
                warmed, begins = step / warm_up, 0.0
            else:
                warmed, begins = done / warm_up, warm_up
            if warmed < 1:
                return warmed
            return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (done - begins) / (1 - begins)))

        def measure(self, done: float) -> None:
            began = time.perf_counter()
            model.eval()
            found = bits_per_byte(
                lambda ids: model(ids).logits, lambda text: tokenizer(text)["input_ids"],
                held_out, tokenizer.eos_token_id, CHUNK,
            )  # fmt: skip
            model.train()
            curve.append((done, found))
            print(f"  {done:6.0f} s  {found:.3f}", flush=True)
            self.outside += time.perf_counter() - began

    class ByTheClock(transformers.Trainer):  # type: ignore[misc]
        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            chosen = self.optimizer if optimizer is None else optimizer
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(chosen, clock.fraction)
            return self.lr_scheduler

    clock = Clock()
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"), per_device_train_batch_size=rows,
        gradient_accumulation_steps=accumulation, max_steps=10**9, learning_rate=rate,
        weight_decay=0.1, bf16=bf16, report_to=[], save_strategy="no", logging_strategy="no",
        disable_tqdm=True, use_cpu=not torch.cuda.is_available(),
    )  # fmt: skip
    ByTheClock(model, arguments, train_dataset=Chunks(), callbacks=[clock]).train()
    return curve


def ours(folder: Path, recipe: Path, held_out: list[str], minutes: float) -> Curve:
    """Train by the command line for so long; a curve from the checkpoints that it kept."""
    run = folder / f"codeling-{minutes:g}"
    shutil.rmtree(run, ignore_errors=True)
    subprocess.run(["cp", "-r", str(folder / "run"), str(run)], check=True)
    settings = {
        "training.minutes": minutes, "training.checkpoint_minutes": minutes / POINTS,
        "training.keep_last": 10 * POINTS,
    }  # fmt: skip
    changes = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "codeling", "train", str(recipe), "--out", str(run)]
    subprocess.run([*command, *changes], check=True, stdout=subprocess.DEVNULL)
    tokenizer = Tokenizer.load(run / "tokenizer")
    values = json.loads((run / "model" / "config.json").read_bytes())
    model = GPT2(GPT2Config.from_hugging_face(values))
    curve: Curve = []
    for checkpoint in state.checkpoints(run / "checkpoints"):
        saved = state.load(checkpoint)
        if saved.step == 0:
            continue
        model.load_state_dict(saved.model)
        context = model.config.context_length
        found = bits_per_byte(model, tokenizer.encode, held_out, tokenizer.end_of_text, context)
        curve.append((saved.seconds, found))
        print(f"  {saved.seconds:6.0f} s  {found:.3f}", flush=True)
    return curve


def kept(path: Path, name: str, train: Callable[[], Curve]) -> Curve:
    """The curve of that name if a former run has come to its end, else trained now and kept."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    curves = dict(json.loads(line) for line in lines if line.endswith("]]]"))
    print(name, "(kept)" if name in curves else "", flush=True)
    if name not in curves:
        curves[name] = train()
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" * bool(lines) + json.dumps([name, curves[name]]))
    return [(seconds, value) for seconds, value in curves[name]]


def compare(curves: dict[str, Curve], theirs: str, ours: str) -> None:
    """Print whether the end of our curve is as good as that of theirs, and how much earlier."""
    (seconds, final), (own_seconds, own_final) = curves[theirs][-1], curves[ours][-1]
    print(
        f"{theirs}: {final:.3f} after {seconds:.0f} s; {ours}: {own_final:.3f} after "
        f"{own_seconds:.0f} s, {seconds / own_seconds:.1f} times as early: "
        f"{'reached' if own_final <= final else 'NOT reached'}",
        flush=True,
    )


def draw(path: Path, curves: dict[str, Curve]) -> None:
    """All curves in one picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot([s / 60 for s, _ in curve], [b for _, b in curve], marker=".", label=name)
    axes.set(xlabel="minutes of training", ylabel="bits per byte, held out", xscale="log")
    axes.legend()
    figure.savefig(path)


def main() -> None:
    """Train all sides one after another and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="of side A")
    parser.add_argument("--rates", default="5e-4,1e-3,2e-3,3e-3", help="tried for side A")
    parser.add_argument(
        "--rows", default="32,16,8,64", help="rows of 128 in a step; tried likewise"
    )
    parser.add_argument("--shares", default="5,10", help="of those minutes B has one in so many")
    parser.add_argument("--recipe", type=Path, default=Path("recipes/demo.toml"))
    parser.add_argument("--held-out-bytes", type=int, default=200_000)
    parser.add_argument("--out", type=Path, default=Path("runs/time-to-quality"))
    options = parser.parse_args()
    folder: Path = options.out
    command = [sys.executable, "-m", "codeling", "tokenizer", str(options.recipe)]
    subprocess.run([*command, "--out", str(folder / "run")], check=True, stdout=subprocess.DEVNULL)
    recipe = read_recipe(options.recipe, []).resolved()
    shape = GPT2Config(
        vocab_size=Tokenizer.load(folder / "run" / "tokenizer").vocab_size,
        **recipe.model.model_dump(exclude={"size"}),
    )
    texts, held_out, left = corpus_texts(folder / "run", "train"), [], options.held_out_bytes
    validation = corpus_texts(folder / "run", "validation")
    for number in np.random.default_rng(0).permutation(len(validation)).tolist():
        size = len(validation[number].encode())
        if size <= left:
            held_out.append(validation[number])
            left -= size
    seconds = 60 * options.minutes
    rates = [float(rate) for rate in options.rates.split(",")]
    first, *others = [int(rows) for rows in options.rows.split(",")]

    path = folder / "curves.jsonl"
    native = multiplies_bf16(choose_device("auto"))

    def side_a(rate: float, rows: int, seconds: float, points: int = 1) -> Curve:
        name = f"A at {rate:g}, {rows} rows a step, {seconds:.0f} s"
        return kept(path, name, lambda: hugging_face(
            folder, shape, texts, held_out, seconds,
            rate=rate, rows=rows, accumulation=1, bf16=native, warm_up=0.05, points=points,
        ))  # fmt: skip

    tried = {(rate, first): side_a(rate, first, seconds / 5)[-1][1] for rate in rates}
    rate, _ = min(tried, key=lambda settings: tried[settings])
    tried |= {(rate, rows): side_a(rate, rows, seconds / 5)[-1][1] for rows in others}
    curves: dict[str, Curve] = {}
    rate, rows = min(tried, key=lambda settings: tried[settings])
    curves["A"] = side_a(rate, rows, seconds, POINTS)
    own = {f"B, 1/{share}": options.minutes / int(share) for share in options.shares.split(",")}
    for name, minutes in own.items():
        train = functools.partial(ours, folder, options.recipe, held_out, minutes)
        curves[name] = kept(path, f"B, {minutes:g} minutes", train)
        compare(curves, "A", name)
    curves["A'"] = kept(path, f"A', the course as written, {seconds:.0f} s", lambda: hugging_face(
        folder, shape, texts, held_out, seconds, rate=5e-4, rows=32, accumulation=8, bf16=False,
        warm_up=1000,
    ))  # fmt: skip
    for name in own:
        compare(curves, "A'", name)
    draw(folder / "curves.svg", curves)
    print(folder / "curves.svg")


if __name__ == "__main__":
    main()
