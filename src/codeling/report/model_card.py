"""The model card: the README of a model folder, in the form that model hubs read.

Source of the form: the Hugging Face Hub's model card metadata (YAML between two ``---`` lines).
"""

from collections import Counter
from pathlib import Path
from typing import Any

from codeling.quantity import quantity
from codeling.recipe import Recipe
from codeling.report.run_files import num_split_tokens, read_json, read_json_lines, share_read

_MAX_SOURCES = 20
_HELD_OUT = {"repository": "repositories", "file": "files", "published": "functions"}
"""``split_by`` of the corpus report → what the splits were drawn from."""


def model_card(run_folder: Path, recipe: Recipe, *, vocab_size: int, num_parameters: int) -> str:
    """``README.md`` for the model of ``run_folder``, in Markdown.

    ``recipe`` is a resolved one. Reads ``corpus/report.json``, ``metrics.jsonl`` and
    ``tokens/train.idx``.

    :raises InputError: one of them is missing or damaged.
    """
    report = read_json(run_folder, "corpus/report.json")
    lines = read_json_lines(run_folder, "metrics.jsonl")
    steps = [line for line in lines if line.get("kind") == "step"]
    validations = [line for line in lines if line.get("kind") == "validation"]
    what, size = "files", "bytes"
    if recipe.corpus.train_on == "functions":
        what, size = "functions", "function_bytes"
    sources = [source for source in report["sources"] if "train" in source["splits"]]
    sources.sort(key=lambda source: (-source[size], source["repository"]))
    train = report["splits"]["train"]
    model = recipe.model
    assert model.n_layer is not None
    assert model.n_head is not None
    sections = [
        _front_matter(),
        "# A Python code model trained with codeling\n",
        f"A GPT-2 with {num_parameters:,} parameters ({quantity(model.n_layer, 'layer')}, width "
        f"{model.n_embd}, {quantity(model.n_head, 'head')}, context {model.context_length}, "
        f"vocabulary {vocab_size:,}), trained from scratch on Python alone. It completes code and "
        "fills in the middle. It was not trained to follow instructions. Its output may be wrong, "
        "unsafe, or a copy of training data.\n",
        _usage(),
        "## Training data\n",
        f"The training split has {quantity(train[what], what.removesuffix('s'))}: "
        f"{quantity(train[size], 'byte')} of {quantity(train['repositories'], 'repository')}."
        f"{_amount_read(run_folder, steps)} The largest repositories:\n",
        _table(sources[:_MAX_SOURCES], size),
        _other_sources(sources[_MAX_SOURCES:]),
        "## Training\n",
        _training(recipe, steps, validations, _HELD_OUT[report["split_by"]]),
        "In the run folder, `corpus/report.json`, `recipe.toml`, `manifest.json` and "
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
        "Let a prompt end before white space: the tokenizer joins an indentation with the text\n"
        "around it. `codeling complete` handles prompts that end elsewhere (token healing).\n\n"
        "To fill in the middle: `<fim_prefix>` before `<fim_suffix>` after `<fim_middle>`.\n"
    )


def _amount_read(run_folder: Path, steps: list[dict[str, Any]]) -> str:
    if not steps:
        return ""
    tokens = steps[-1]["tokens"]
    share = share_read(tokens, num_split_tokens(run_folder))
    return f" Training read {quantity(tokens, 'token')}, {share}."


def _table(sources: list[dict[str, Any]], size: str) -> str:
    rows = [
        f"| {_cell(source['repository'])} | {_cell(source['license'])} | {source[size]:,} |"
        for source in sources
    ]
    return "\n".join(["| repository | licence | bytes |", "|---|---|---:|", *rows, ""])


def _cell(text: str) -> str:
    """``text`` escaped for a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _other_sources(sources: list[dict[str, Any]]) -> str:
    if not sources:
        return ""
    licenses = Counter(source["license"] for source in sources)
    counts = ", ".join(f"{name} ({count})" for name, count in sorted(licenses.items()))
    return f"{quantity(len(sources), 'more repository')}, by licence: {counts}.\n"


def _training(
    recipe: Recipe,
    steps: list[dict[str, Any]],
    validations: list[dict[str, Any]],
    held_out: str,
) -> str:
    training = recipe.training
    text = (
        f"Muon (peak rate {training.muon_lr:g}) and AdamW ({training.adamw_lr:g}), "
        f"{training.tokens_per_step:,} tokens per step, linear warm-up and decay to zero, weight "
        f"decay {training.weight_decay:g}; {training.fim_rate:.0%} of the documents are "
        "rearranged for infilling."
    )
    if steps:
        last = steps[-1]
        text += f" {quantity(last['step'], 'step')}, {quantity(last['tokens'], 'token')}, "
        text += f"{quantity(last['seconds'], 'second')}."
    if validations:
        text += f" Validation: {validations[-1]['bits_per_byte']:.3f} bits per byte"
        text += f" on excerpts of {held_out} that were not trained on."
    return text + "\n"
