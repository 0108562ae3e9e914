"""The model card: the README of a model folder, in the form that model hubs read.

Source of the form: the Hugging Face Hub's model card metadata (YAML between two ``---`` lines).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeling import hub
from codeling.export.card_metadata import with_scores
from codeling.export.scores import MeasuredScore, measured_scores
from codeling.model.config import GPT2Config
from codeling.model.folder import MODEL_CARD, weights_sha256
from codeling.quantity import quantity
from codeling.recipe import Recipe
from codeling.report.run_files import num_split_tokens, read_json, read_json_lines, share_read

_MAX_SOURCES = 20
_HELD_OUT = {"repository": "repositories", "file": "files", "published": "functions"}
"""``split_by`` of the corpus report → what the splits were drawn from."""


@dataclass(frozen=True)
class Ancestor:
    """The model that a training started from."""

    address: str
    sha256: str
    """Of its weights."""
    license: str | None
    """As its model card names it."""

    @property
    def hub_id(self) -> str | None:
        """``owner/name`` if it came from the Hub."""
        return hub.parse(self.address).repository if self.address.startswith(hub.SCHEME) else None


def model_card(
    run_folder: Path, recipe: Recipe, config: GPT2Config, origin: Ancestor | None = None
) -> str:
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
    trained = "trained from scratch on Python alone" if origin is None else "trained on Python"
    sections = [
        _front_matter(origin),
        "# A Python code model trained with codeling\n",
        f"A GPT-2 with {config.num_parameters:,} parameters ({quantity(config.n_layer, 'layer')}, "
        f"width {config.n_embd}, {quantity(config.n_head, 'head')}, context "
        f"{config.context_length}, vocabulary {config.vocab_size:,}), {trained}. It completes "
        "code and fills in the middle. It was not trained to follow instructions. Its output may "
        "be wrong, unsafe, or a copy of training data.\n",
        _usage(),
        "## Training data\n",
        _origin(origin) if origin else "",
        f"The training split has {quantity(train[what], what.removesuffix('s'))}: "
        f"{quantity(train[size], 'byte')} of {quantity(train['repositories'], 'repository')}."
        f"{_amount_read(run_folder, steps)} The largest repositories:\n",
        _table(sources[:_MAX_SOURCES], size),
        _other_sources(sources[_MAX_SOURCES:]),
        "By licence:\n",
        _license_table(by_license(sources, size)),
        "## Training\n",
        _training(recipe, steps, validations, _HELD_OUT[report["split_by"]]),
        "In the run folder, `corpus/report.json`, `recipe.toml`, `manifest.json` and "
        "`evaluation.json` hold every source, setting, version and result.\n",
    ]
    return "\n".join(section for section in sections if section)


def adapted_card(config: GPT2Config, origin: Ancestor, num_files: int, num_bytes: int) -> str:
    """``README.md`` of a model that was adapted to a project, which it does not name."""
    sections = [
        _front_matter(origin),
        "# A Python code model adapted to one project with codeling\n",
        f"A GPT-2 with {config.num_parameters:,} parameters and a context of "
        f"{quantity(config.context_length, 'token')}. It completes code and fills in the middle.\n",
        _usage(),
        "## Training data\n",
        _origin(origin),
        f"It was then trained on {quantity(num_files, 'file')} ({quantity(num_bytes, 'byte')}) of "
        "one project. Whoever shares this model shares what it learned of that project.\n",
    ]
    return "\n".join(sections)


def hub_card(model_folder: Path, run_folder: Path | None) -> str:
    """The card of a model folder for the Hub: with scores and limits where it belongs to a run.

    The scores of the weights are in its metadata too, which the Hub reads. A folder without a
    card gets one that says how to use it.
    """
    path = model_folder / MODEL_CARD
    card = path.read_bytes().decode(errors="replace") if path.is_file() else ""
    card = card or f"{_front_matter(None)}\n# A Python code model\n\n{_usage()}"
    if run_folder is None:
        return card
    scores = measured_scores(run_folder, weights_sha256(model_folder))
    card = with_scores(card, scores)
    return f"{card.rstrip()}\n\n{_evaluation(scores)}\n{_LIMITS}"


_LIMITS = """## Limits

- It knows Python alone, and what it writes may be wrong or unsafe: read it and test it.
- It continues code and fills gaps. It does not follow instructions.
- It can repeat passages of its training data, whose licences are above. `codeling trace` finds them
  in the run folder.
- It reads no more than its context. codeling adds a memory of the open file and of the project;
  this folder contains the weights alone.
"""


def _evaluation(scores: list[MeasuredScore]) -> str:
    if not scores:
        return "## Evaluation\n\nIt has not been measured.\n"
    rows = []
    for score in scores:
        value, interval = score.as_text()
        cells = (score.suite, score.name, value, interval, score.data)
        rows.append(f"| {' | '.join(map(_cell, cells))} |")
    head = ["| suite | score | value | 95 % interval | measured on |", "|---|---|---:|---|---|"]
    intro = "Measured by codeling on data that was held out of the training."
    return "\n".join(["## Evaluation", "", intro, "", *head, *rows, ""])


def _front_matter(origin: Ancestor | None) -> str:
    base = f"base_model: {origin.hub_id}\n" if origin and origin.hub_id else ""
    return (
        "---\nlanguage:\n- code\nlibrary_name: transformers\npipeline_tag: text-generation\n"
        f"{base}tags:\n- gpt2\n- python\n- code\n- fill-in-the-middle\n- codeling\n---\n"
    )


def _origin(origin: Ancestor) -> str:
    named = (
        f"its card names the licence {origin.license}"
        if origin.license
        else "its card names no licence"
    )
    return (
        f"Training started from the model `{origin.address}` (SHA-256 of its weights "
        f"{origin.sha256}; {named}), whose own training data is not listed below.\n"
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


def by_license(sources: list[dict[str, Any]], size: str) -> list[dict[str, Any]]:
    """Licences of the repositories in ``sources``: ``license``, ``repositories`` and ``bytes``."""
    found: dict[str, dict[str, Any]] = {}
    for source in sources:
        name = source["license"]
        row = found.setdefault(name, {"license": name, "repositories": 0, "bytes": 0})
        row["repositories"] += 1
        row["bytes"] += source[size]
    return sorted(found.values(), key=lambda row: (-row["bytes"], row["license"]))


def _license_table(rows: list[dict[str, Any]]) -> str:
    shown = [
        f"| {_cell(row['license'])} | {row['repositories']:,} | {row['bytes']:,} |" for row in rows
    ]
    return "\n".join(["| licence | repositories | bytes |", "|---|---:|---:|", *shown, ""])


def _cell(text: str) -> str:
    """``text`` escaped for a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _other_sources(sources: list[dict[str, Any]]) -> str:
    if not sources:
        return ""
    return f"{quantity(len(sources), 'more repository')} are in `corpus/report.json`.\n"


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
