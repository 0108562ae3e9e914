"""Our training reaches the bits per byte of a tuned Hugging Face run in a fifth of its time.

All sides use one corpus (the installed Python of this machine), one held-out text, and the same
layers, heads, and width:

- **A**: the Trainer of transformers, in bf16 where it is not emulated, with a newly trained
  GPT-2 byte-level BPE, overflow chunks of 128 tokens as in the Hugging Face course (chapter 7.6),
  AdamW, a warm-up of 5 %, and a cosine schedule, both by wall clock. Each of ``--rates`` is first
  tried for a fifth of ``--minutes``, then each of ``--rows`` at the best rate.
- **A'**: the course as written: learning rate 5e-4, 8 times 32 sequences per step, warm-up of
  1,000 steps, fp32, for the same time.
- **B**: ``codeling train`` with the preset, for the given ``--shares`` of A's minutes. It should
  reach A's final value in a fifth of the time, and that of A' in a tenth.

The same code scores all sides: windows of the side's own context, every token once, with at least
half a context before it. Time is training time without the scoring. Prints all measurements and
draws the curves. Curves are stored in OUT/curves.jsonl; an interrupted benchmark continues with the
next curve.

    python -m benchmarks.training.time_to_quality --minutes 20
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
"""Context length of the course."""
POINTS = 12
"""Measurements of a curve. A trial has one, at its end."""
WINDOWS = 16
"""Windows that are scored in one batch."""


def bits_per_byte(
    logits: Callable[[torch.Tensor], torch.Tensor],
    encode: Callable[[str], list[int]],
    texts: Sequence[str],
    start: int,
    context: int,
) -> float:
    """Bits per byte of ``texts``, each after the id ``start``; ``encode`` does not add it."""
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
    """The texts of a split."""
    return [document.text for document in iterate(folder / "corpus", split, "files")]


def overflow_chunks(path: Path, tokenizer: Any, texts: list[str]) -> NDArray[np.uint16]:
    """All complete chunks of all texts, (N, CHUNK), cached in ``path``.

    The rest of each text is dropped, as in the course.
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
    """Train as in the course for ``seconds``."""
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

    class Chunks(torch.utils.data.Dataset[dict[str, list[int]]]):  # the Trainer shuffles them
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
        start, scoring = time.perf_counter(), 0.0

        def elapsed(self) -> float:
            return time.perf_counter() - self.start - self.scoring

        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            done = self.elapsed()
            is_over = done >= seconds
            if is_over or done >= (len(curve) + 1) * seconds / points:
                self.measure(done)
            control.should_training_stop = is_over

        def fraction(self, step: int) -> float:
            """Share of the peak rate: warm-up, then a cosine that ends with the time."""
            done = self.elapsed() / seconds
            if isinstance(warm_up, int):
                warm, cosine_start = step / warm_up, 0.0
            else:
                warm, cosine_start = done / warm_up, warm_up
            if warm < 1:
                return warm
            return 0.5 + 0.5 * math.cos(
                math.pi * min(1.0, (done - cosine_start) / (1 - cosine_start))
            )

        def measure(self, done: float) -> None:
            before = time.perf_counter()
            model.eval()
            found = bits_per_byte(
                lambda ids: model(ids).logits, lambda text: tokenizer(text)["input_ids"],
                held_out, tokenizer.eos_token_id, CHUNK,
            )  # fmt: skip
            model.train()
            curve.append((done, found))
            print(f"  {done:6.0f} s  {found:.3f}", flush=True)
            self.scoring += time.perf_counter() - before

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
    """Train by the command line for ``minutes``, and score the checkpoints."""
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


def stored_curve(path: Path, name: str, train: Callable[[], Curve]) -> Curve:
    """The curve called ``name``, trained and stored unless it is there already."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    curves = dict(json.loads(line) for line in lines if line.endswith("]]]"))
    print(name, "(stored)" if name in curves else "", flush=True)
    if name not in curves:
        curves[name] = train()
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" * bool(lines) + json.dumps([name, curves[name]]))
    return [(seconds, value) for seconds, value in curves[name]]


def compare(curves: dict[str, Curve], theirs: str, ours: str) -> None:
    """Print whether our curve ends at least as low as theirs, and the ratio of the times."""
    (seconds, final), (own_seconds, own_final) = curves[theirs][-1], curves[ours][-1]
    print(
        f"{theirs}: {final:.3f} after {seconds:.0f} s; {ours}: {own_final:.3f} after "
        f"{own_seconds:.0f} s, {seconds / own_seconds:.1f} times as fast: "
        f"{'reached' if own_final <= final else 'NOT reached'}",
        flush=True,
    )


def draw(path: Path, curves: dict[str, Curve]) -> None:
    """Draw all curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot([s / 60 for s, _ in curve], [b for _, b in curve], marker=".", label=name)
    axes.set(xlabel="minutes of training", ylabel="bits per byte, held out", xscale="log")
    axes.legend()
    figure.savefig(path)


def main() -> None:
    """Train all sides and compare them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="training time of side A")
    parser.add_argument(
        "--rates", default="5e-4,1e-3,2e-3,3e-3", help="learning rates to try for side A"
    )
    parser.add_argument("--rows", default="32,16,8,64", help="sequences per step to try for side A")
    parser.add_argument("--shares", default="5,10", help="side B trains for 1/SHARE of the minutes")
    parser.add_argument("--recipe", type=Path, default=Path("recipes/demo.toml"), help="of side B")
    parser.add_argument("--held-out-bytes", type=int, default=200_000, help="text to score")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/time-to-quality"), help="folder of results"
    )
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
        name = f"A at {rate:g}, {rows} sequences per step, {seconds:.0f} s"
        return stored_curve(path, name, lambda: hugging_face(
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
        curves[name] = stored_curve(path, f"B, {minutes:g} minutes", train)
        compare(curves, "A", name)
    name = f"A', the course as written, {seconds:.0f} s"
    curves["A'"] = stored_curve(path, name, lambda: hugging_face(
        folder, shape, texts, held_out, seconds, rate=5e-4, rows=32, accumulation=8, bf16=False,
        warm_up=1000,
    ))  # fmt: skip
    for name in own:
        compare(curves, "A'", name)
    draw(folder / "curves.svg", curves)
    print(folder / "curves.svg")


if __name__ == "__main__":
    main()
