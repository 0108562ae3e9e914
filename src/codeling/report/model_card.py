"""The model card: what a model folder says of itself, in the form that model hubs read.

Source of the form: the Hugging Face Hub's model card metadata (YAML between two ``---`` lines).
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from codeling import jsonl
from codeling.model.config import GPT2Config
from codeling.recipe import Recipe

_LARGEST = 20
_HELD_OUT = {"repository": "repositories", "file": "files", "published": "functions"}


def model_card(run_folder: Path, recipe: Recipe, config: GPT2Config) -> str:
    """``README.md`` of the model of ``run_folder``, in Markdown.

    ``recipe`` is the resolved one. Reads ``corpus/report.json`` and ``metrics.jsonl``.
    """
    report: dict[str, Any] = json.loads((run_folder / "corpus" / "report.json").read_bytes())
    lines = [line for line in jsonl.read(run_folder / "metrics.jsonl") if "step" in line]
    steps = [line for line in lines if line["kind"] == "step"]
    validations = [line for line in lines if line["kind"] == "validation"]
    trained_on = [source for source in report["sources"] if "train" in source["splits"]]
    what, size = "files", "bytes"
    if recipe.corpus.train_on == "functions":
        what, size = "functions", "function_bytes"
    trained_on.sort(key=lambda source: (-source[size], source["repository"]))
    train = report["splits"]["train"]
    sections = [
        _front_matter(),
        "# A Python code model grown with codeling\n",
        f"A GPT-2 of {config.num_parameters:,} parameters ({config.n_layer} layers, width "
        f"{config.n_embd}, {config.n_head} heads, context {config.context_length}, vocabulary "
        f"{config.vocab_size:,}), trained from nothing on Python alone. It completes code and "
        "fills in the middle. It has not been made to follow instructions, and what it writes may "
        "be wrong, unsafe, or a copy of what it was trained on.\n",
        _usage(),
        "## What it was trained on\n",
        f"{train[what]:,} {what}, {train[size]:,} bytes of {train['repositories']:,} repositories "
        f"(trained on: {what}). The largest:\n",
        _table(trained_on[:_LARGEST], size),
        _rest(trained_on[_LARGEST:]),
        "## How it was trained\n",
        _training(recipe, steps, validations, _HELD_OUT[report["split_by"]]),
        "The run folder's `corpus/report.json`, `recipe.toml`, `manifest.json` and "
        "`evaluation.json` hold every source, setting, version and result.\n",
    ]
    return "\n".join(section for section in sections if section)


def _front_matter() -> str:
    return (
        "---\nlanguage:\n- code\nlibrary_name: transformers\npipeline_tag: text-generation\n"
        "tags:\n- gpt2\n- python\n- code\n- fill-in-the-middle\n- codeling\n---\n"
    )


def _usage() -> str:
    return (
        "```python\n"
        "from transformers import pipeline\n\n"
        'complete = pipeline("text-generation", model="path/to/this/folder")\n'
        'print(complete("def mean(xs):", max_new_tokens=64)[0]["generated_text"])\n'
        "```\n\n"
        "A prompt does best that ends before white space: an indentation is a token with what\n"
        "stands around it. `codeling complete` heals prompts that end elsewhere.\n\n"
        "To fill in the middle: `<fim_prefix>` before `<fim_suffix>` after `<fim_middle>`.\n"
    )


def _table(sources: list[dict[str, Any]], size: str) -> str:
    rows = [
        f"| {_cell(source['repository'])} | {_cell(source['license'])} | {source[size]:,} |"
        for source in sources
    ]
    return "\n".join(["| repository | licence | bytes |", "|---|---|---:|", *rows, ""])


def _cell(text: str) -> str:
    """``text`` as it may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _rest(sources: list[dict[str, Any]]) -> str:
    if not sources:
        return ""
    licenses = Counter(source["license"] for source in sources)
    counted = ", ".join(f"{name} ({count})" for name, count in sorted(licenses.items()))
    return f"And {len(sources):,} more, under: {counted}.\n"


def _training(
    recipe: Recipe,
    steps: list[dict[str, Any]],
    validations: list[dict[str, Any]],
    held_out: str,
) -> str:
    training = recipe.training
    text = (
        f"Muon (peak rate {training.muon_lr:g}) and AdamW ({training.adamw_lr:g}), "
        f"{training.tokens_per_step:,} tokens a step, linear warm-up and decay to zero, weight "
        f"decay {training.weight_decay:g}, {training.infilling_rate:.0%} of the documents "
        "rearranged to fill in the middle."
    )
    if steps:
        last = steps[-1]
        text += (
            f" {last['step']:,} steps, {last['tokens']:,} tokens, {last['seconds']:,.0f} seconds."
        )
    if validations:
        text += f" Validation: {validations[-1]['bits_per_byte']:.3f} bits per byte"
        text += f" on {held_out} it was not trained on."
    return text + "\n"
