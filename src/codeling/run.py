"""A run from end to end: which stage follows which, what each is made from, and what it leaves.

A stage whose settings and inputs are what they were, and whose files are whole, is not done
again; another is, with everything that depends on it, and the reason is said. This is the one
module that knows all floors below the command line; the stages themselves live there.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from codeling.errors import CodelingError, CorpusError, UsageError
from codeling.manifest import Manifest, locked, remove_partials, write_bytes, write_json
from codeling.progress import SILENT, Progress
from codeling.recipe import Recipe
from codeling.recipe.renamed_keys import update_settings
from codeling.recipe.training import DECIDE_NOTHING

if TYPE_CHECKING:
    from codeling.training.trainer import Result


@dataclass
class StopRequest:
    """Somebody asks the run to stop; set from a signal handler."""

    requested: bool = False
    patient: bool = False
    """Whether the stage at work looks at ``requested`` itself and saves what it has."""
    at_once: bool = False
    """The stage was interrupted in the middle; whatever it says, it has not finished."""


@dataclass(frozen=True)
class Context:
    """What every stage is given."""

    recipe: Recipe
    folder: Path
    progress: Progress
    manifest: Manifest
    stop: StopRequest
    ray: str | None = None
    """Address of the Ray cluster that builds the corpus, if any; the outcome is the same."""


@dataclass(frozen=True)
class Stage:
    """One step of a run."""

    name: str
    title: str
    settings: tuple[str, ...]
    """The recipe's ``table.key`` or whole ``table`` that it depends on."""
    after: tuple[str, ...]
    """Stages whose outputs it reads."""
    work: Callable[[Context], Iterable[Path]]
    """Does it; gives the files it wrote."""
    not_settings: tuple[str, ...] = ()
    """Keys of those tables that change nothing in the outcome."""
    fingerprint: Callable[[Recipe], dict[str, str]] = field(default=lambda recipe: {})
    """SHA-256 of inputs from outside the run folder."""


def run(
    recipe: Recipe,
    folder: Path,
    *,
    until: str = "report",
    progress: Progress = SILENT,
    stop: StopRequest | None = None,
    ray: str | None = None,
) -> dict[str, Any]:
    """Bring ``folder`` to the state that ``recipe`` describes, up to the stage ``until``.

    ``ray`` is the address of a Ray cluster that the corpus is built on.
    Returns a summary: the folder, per stage whether it was done now and why, and its seconds.

    :raises UsageError: ``until`` is no stage, or the recipe contradicts itself.
    :raises BusyError: another process works in ``folder``.
    :raises StorageError: ``folder`` cannot be written.
    :raises CodelingError: ``stop`` asks for it; what had finished is kept.
    """
    recipe = recipe.resolved()
    if is_assisting():
        _assist(
            Context(
                recipe, folder, SILENT, Manifest(folder, update_settings), stop or StopRequest()
            )
        )
        return {"folder": str(folder), "stages": {}}
    names = [stage.name for stage in STAGES]
    if until not in names:
        raise UsageError(f"no stage {until!r}; the stages are {', '.join(names)}")
    summary: dict[str, Any] = {"folder": str(folder), "stages": {}}
    with locked(folder):
        context = Context(
            recipe, folder, progress, Manifest(folder, update_settings), stop or StopRequest(), ray
        )
        remove_partials(folder)
        write_bytes(folder / "recipe.toml", recipe.to_toml().encode())
        for stage in STAGES[: names.index(until) + 1]:
            if context.stop.requested:  # while a stage was at work that saw it too late
                raise CodelingError(
                    "stopped between two stages; the same command goes on from here"
                )
            summary["stages"][stage.name] = _do(stage, context)
        _tell_assistants("no training")
    return summary


def is_assisting() -> bool:
    """Whether this process is one of several that ``torchrun`` started, and not the first."""
    return int(os.environ.get("RANK", "0")) > 0


def _tell_assistants(word: str) -> None:
    """Tell the other processes, if there are any, what to do; the first word counts."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from codeling.training.distributed.process_group import say

        say(word)


def _assist(context: Context) -> None:
    """Take part in the training of the first process, which alone does everything else."""
    from codeling.training.distributed.process_group import hear

    if hear() == "training":
        _train(replace(context, manifest=Manifest(context.folder, update_settings)))


def _do(stage: Stage, context: Context) -> dict[str, Any]:
    """Do one stage unless its result still stands."""
    manifest = context.manifest
    settings = _settings(stage, context.recipe)
    inputs = {f"the {name} stage": manifest.digest(name) for name in stage.after}
    inputs.update(stage.fingerprint(context.recipe))
    reason = manifest.reason_to_run(stage.name, settings, inputs)
    if reason is None:
        seconds = manifest.stages[stage.name].seconds
        context.progress.note(f"{stage.title}: unchanged, not done again")
        return {"done": False, "reason": None, "seconds": seconds}
    suffix = "" if reason == "not done yet" else f" (again: {reason})"
    context.progress.note(f"{stage.title}{suffix}")
    manifest.forget(stage.name)
    began = time.perf_counter()
    outputs = list(stage.work(context))
    if context.stop.at_once:
        raise CodelingError(
            "stopped; what had finished is kept, the same command goes on from there"
        )
    seconds = time.perf_counter() - began
    manifest.record(stage.name, settings, inputs, outputs, seconds)
    return {"done": True, "reason": reason, "seconds": round(seconds, 3)}


def _settings(stage: Stage, recipe: Recipe) -> dict[str, Any]:
    """The settings of a stage as ``table.key`` → value."""
    values = recipe.model_dump(mode="json")
    chosen: dict[str, Any] = {}
    for name in stage.settings:
        table, _, key = name.partition(".")
        for each in [key] if key else values[table]:
            if f"{table}.{each}" not in stage.not_settings:
                chosen[f"{table}.{each}"] = values[table][each]
    return chosen


def _documents(context: Context, split: str) -> Iterator[Any]:
    from codeling.corpus.document import iterate

    return iterate(context.folder / "corpus", split, context.recipe.corpus.train_on)


class _Size(NamedTuple):
    """How much of a split is trained on."""

    num_documents: int
    num_bytes: int


def _size(context: Context, split: str) -> _Size:
    report = json.loads((context.folder / "corpus" / "report.json").read_bytes())
    counts = report["splits"][split]
    what = context.recipe.corpus.train_on
    size = _Size(counts[what], counts["bytes" if what == "files" else "function_bytes"])
    if size.num_documents:
        return size
    if split == "train":
        other = "functions" if what == "files" else "files"
        raise CorpusError(
            f"the corpus has no {what} to train on; where its sources hold {other}, set "
            f'corpus.train_on = "{other}"'
        )
    if split == "validation":
        num_train = report["splits"]["train"][what]
        raise CorpusError(
            f"the validation split is empty: the corpus has too few {what} (train: "
            f"{num_train:,}); add sources or raise corpus.validation_share"
        )
    return size


def _corpus(context: Context) -> Iterable[Path]:
    from codeling.corpus.build.pipeline import build
    from codeling.corpus.build.report import table

    folder = context.folder / "corpus"
    report = build(context.recipe.corpus, folder, context.progress, context.ray)
    for line in table(report):
        context.progress.note(line)
    return [*folder.glob("*/*.parquet"), folder / "report.json"]


def _corpus_fingerprint(recipe: Recipe) -> dict[str, str]:
    from codeling.corpus.sources.listing import fingerprint

    return {"the source files": fingerprint(recipe.corpus)}


def _tokenizer(context: Context) -> Iterable[Path]:
    from codeling.tokenizer.train import train

    recipe = context.recipe.tokenizer
    texts = (document.text for document in _documents(context, "train"))
    path = context.folder / "tokenizer" / "tokenizer.json"
    total_bytes = _size(context, "train").num_bytes
    train(texts, recipe, context.progress, total_bytes=total_bytes).save(path)
    return [path]


def _tokens(context: Context) -> Iterable[Path]:
    from codeling.dataset.mixture import Owners
    from codeling.dataset.tokens import write_tokens
    from codeling.tokenizer.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(context.folder / "tokenizer")
    written = []
    for split in ("train", "validation"):
        path = context.folder / "tokens" / f"{split}.bin"
        owners = Owners()
        texts = owners.texts(_documents(context, split))
        num_bytes = _size(context, split).num_bytes
        write_tokens(texts, tokenizer, path, context.progress, total_bytes=num_bytes)
        owners.write(path.with_suffix(".json"))
        written += [path.with_suffix(suffix) for suffix in (".bin", ".idx", ".json")]
    return written


def _training(context: Context) -> Iterable[Path]:
    checkpoint = _train(context).checkpoint
    folder = context.folder
    written = [path for path in checkpoint.rglob("*") if path.is_file()]
    return [folder / "metrics.jsonl", folder / "samples.jsonl", *written]


def _train(context: Context) -> "Result":
    """In this process, and under ``torchrun`` together with the others."""
    from codeling.dataset.mixture import read_owners
    from codeling.dataset.tokens import open_tokens
    from codeling.tokenizer.tokenizer import Tokenizer
    from codeling.training.distributed.process_group import leave
    from codeling.training.trainer import Inputs, identify, identify_as_before, train

    folder, recipe = context.folder, context.recipe
    inputs = Inputs(
        Tokenizer.load(folder / "tokenizer"),
        open_tokens(folder / "tokens" / "train.bin"),
        open_tokens(folder / "tokens" / "validation.bin"),
        read_owners(folder / "tokens" / "train.json"),
    )
    config = _model_config(recipe, inputs.tokenizer.vocab_size)
    made_from = {name: context.manifest.digest(name) for name in ("tokenizer", "tokens")}
    context.stop.patient = True
    _tell_assistants("training")
    try:
        result = train(
            recipe.training,
            config,
            inputs,
            folder,
            identity=identify(recipe.training, config, made_from),
            previous_identity=identify_as_before(recipe.training, config, made_from),
            progress=context.progress,
            should_stop=lambda: context.stop.requested,
        )
    finally:
        context.stop.patient = False
    leave()  # what follows the first process does alone
    return result


def _model_config(recipe: Recipe, vocab_size: int) -> Any:
    from codeling.model.config import GPT2Config

    shape = recipe.model.model_dump(exclude={"size"})
    return GPT2Config(vocab_size=vocab_size, **shape)


def _model(context: Context) -> Iterable[Path]:
    from codeling.model import weights
    from codeling.model.gpt2 import GPT2
    from codeling.report.model_card import model_card
    from codeling.tokenizer.tokenizer import Tokenizer
    from codeling.training.checkpoint import state

    folder = context.folder / "model"
    tokenizer = Tokenizer.load(context.folder / "tokenizer")
    config = _model_config(context.recipe, tokenizer.vocab_size)
    last = state.checkpoints(context.folder / "checkpoints")[-1]
    network = GPT2(config)
    network.load_state_dict(state.load(last).model)
    tokenizer.save_for_hugging_face(folder, config.context_length)
    card = model_card(
        context.folder,
        context.recipe,
        vocab_size=config.vocab_size,
        num_parameters=config.num_parameters,
    )
    write_bytes(folder / "README.md", card.encode())
    weights.save(
        folder,
        network,
        end_of_text_id=tokenizer.end_of_text,
        pad_id=tokenizer.fim_pad,
        suppressed_ids=sorted(tokenizer.special_ids - {tokenizer.end_of_text}),
        tokenizer_digest=tokenizer.digest,
    )
    return [path for path in folder.iterdir() if path.is_file()]


def _provenance(context: Context) -> Iterable[Path]:
    from codeling.provenance.index import build

    folder = context.folder / "provenance"
    num_documents = _size(context, "train").num_documents
    build(_documents(context, "train"), folder, context.progress, total=num_documents)
    return [path for path in folder.iterdir() if path.is_file()]


def _evaluation(context: Context) -> Iterable[Path]:
    from codeling.corpus.document import iterate
    from codeling.evaluation.intrinsic import evaluate_test_split
    from codeling.generation.engine import Engine

    result = evaluate_test_split(
        Engine.load(context.folder / "model"),
        context.folder / "model",
        list(_documents(context, "test")),
        list(iterate(context.folder / "corpus", "test", "functions")),
        context.recipe.evaluation,
        context.progress,
    )
    path = context.folder / "evaluation.json"
    write_json(path, result)
    return [path]


def _report(context: Context) -> Iterable[Path]:
    from codeling.report.run_report import write_report

    if not write_report(context.folder):
        context.progress.note("the report has no curves: matplotlib is not installed")
    return [context.folder / "report.html"]


STAGES: Sequence[Stage] = (
    Stage("corpus", "corpus", ("corpus",), (), _corpus,
          not_settings=("corpus.train_on",), fingerprint=_corpus_fingerprint),
    Stage("tokenizer", "tokenizer", ("tokenizer", "corpus.train_on"), ("corpus",), _tokenizer),
    Stage("tokens", "tokens", ("corpus.train_on",), ("corpus", "tokenizer"), _tokens),
    Stage("training", "training", ("model", "training"), ("tokenizer", "tokens"), _training,
          not_settings=tuple(f"training.{name}" for name in DECIDE_NOTHING)),
    Stage("model", "model folder", (), ("corpus", "tokenizer", "training"), _model),
    Stage("provenance", "provenance index", ("corpus.train_on",), ("corpus",), _provenance),
    Stage("evaluation", "evaluation", ("evaluation",), ("corpus", "model"), _evaluation),
    Stage("report", "report", ("corpus", "tokenizer", "model", "training", "evaluation"),
          ("corpus", "training", "evaluation"), _report),
)  # fmt: skip
"""In the order in which they are done; the one-stage verbs stop after theirs."""
