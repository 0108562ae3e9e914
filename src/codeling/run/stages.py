"""The stages of a run: their work, the settings they depend on, and the stages they read from.

This package is the only one below the command line that knows all packages; the work itself is done
there. This module must not decide which stages run.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from codeling import torchrun
from codeling.errors import CorpusError
from codeling.manifest import write_json
from codeling.recipe.training import WEIGHT_INDEPENDENT_KEYS
from codeling.run.context import RunContext

if TYPE_CHECKING:
    from codeling.training.trainer import TrainingResult


@dataclass(frozen=True)
class Stage:
    """One step of a run."""

    name: str
    title: str
    settings: tuple[str, ...]
    """Settings that it depends on: ``table.key``, or ``table`` for all its keys."""
    depends_on: tuple[str, ...]
    """Stages whose outputs it reads."""
    execute: Callable[[RunContext], Iterable[Path]]
    """Do the work and return the files written."""
    ignored_settings: tuple[str, ...] = ()
    """Keys of these tables that do not affect the result."""
    fingerprint: Callable[[RunContext], dict[str, str]] = field(default=lambda context: {})
    """SHA-256 of the inputs outside the run folder."""


def _documents(context: RunContext, split: str) -> Iterator[Any]:
    from codeling.corpus.document import iterate

    return iterate(context.folder / "corpus", split, context.recipe.corpus.train_on)


class _Size(NamedTuple):
    """Amount of text in a split that the model reads."""

    num_documents: int
    num_bytes: int


def _size(context: RunContext, split: str) -> _Size:
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


def _corpus(context: RunContext) -> Iterable[Path]:
    from codeling.corpus.build.pipeline import build
    from codeling.corpus.build.report import table

    folder = context.folder / "corpus"
    report = build(context.recipe.corpus, folder, context.progress, context.ray)
    for line in table(report):
        context.progress.note(line)
    return [*folder.glob("*/*.parquet"), folder / "report.json"]


def _corpus_fingerprint(context: RunContext) -> dict[str, str]:
    from codeling.corpus.sources.listing import fingerprint

    return {"the source files": fingerprint(context.recipe.corpus)}


def _tokenizer(context: RunContext) -> Iterable[Path]:
    from codeling.tokenizer.train import train

    path = context.folder / "tokenizer" / "tokenizer.json"
    if context.initial:
        context.initial.tokenizer.save(path)
        return [path]
    recipe = context.recipe.tokenizer
    texts = (document.text for document in _documents(context, "train"))
    total_bytes = _size(context, "train").num_bytes
    train(texts, recipe, context.progress, total_bytes=total_bytes).save(path)
    return [path]


def _tokens(context: RunContext) -> Iterable[Path]:
    from codeling.dataset.mixture import RepositoryRecorder
    from codeling.dataset.tokens import write_tokens
    from codeling.tokenizer.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(context.folder / "tokenizer")
    written = []
    for split in ("train", "validation"):
        path = context.folder / "tokens" / f"{split}.bin"
        owners = RepositoryRecorder()
        texts = owners.texts(_documents(context, split))
        num_bytes = _size(context, split).num_bytes
        write_tokens(texts, tokenizer, path, context.progress, total_bytes=num_bytes)
        owners.write(path.with_suffix(".json"))
        written += [path.with_suffix(suffix) for suffix in (".bin", ".idx", ".json")]
    return written


def _training(context: RunContext) -> Iterable[Path]:
    checkpoint = train(context).checkpoint
    folder = context.folder
    written = [path for path in checkpoint.rglob("*") if path.is_file()]
    return [folder / "metrics.jsonl", folder / "samples.jsonl", *written]


def train(context: RunContext) -> "TrainingResult":
    """Train, under ``torchrun`` together with the other processes, which call only this."""
    from codeling.training.run_training import train_run

    made_from = {name: context.manifest.digest(name) for name in ("tokenizer", "tokens")}
    context.stop.graceful = True
    torchrun.signal_followers("training")
    try:
        result = train_run(
            context.recipe,
            context.initial,
            context.folder,
            made_from,
            context.progress,
            lambda: context.stop.requested,
        )
    finally:
        context.stop.graceful = False
    torchrun.leave_group()
    return result


def _initial_fingerprint(context: RunContext) -> dict[str, str]:
    return context.initial.digests if context.initial else {}


def _model(context: RunContext) -> Iterable[Path]:
    from codeling.export.hugging_face import write_model_folder
    from codeling.export.model_card import Ancestor, model_card
    from codeling.tokenizer.tokenizer import Tokenizer
    from codeling.training.run_training import last_network, model_config

    recipe, initial = context.recipe, context.initial
    tokenizer = Tokenizer.load(context.folder / "tokenizer")
    config = model_config(recipe, tokenizer.vocab_size, initial)
    network = last_network(context.folder, config)
    origin = Ancestor(initial.address, initial.sha256, initial.license) if initial else None
    card = model_card(context.folder, recipe, config, origin)
    rate = recipe.training.fim_spm_rate
    return write_model_folder(context.folder / "model", network, tokenizer, card, rate)


def _provenance(context: RunContext) -> Iterable[Path]:
    from codeling.provenance.index import build

    folder = context.folder / "provenance"
    num_documents = _size(context, "train").num_documents
    build(_documents(context, "train"), folder, context.progress, total=num_documents)
    return [path for path in folder.iterdir() if path.is_file()]


def _memory(context: RunContext) -> Iterable[Path]:
    from codeling.cores import usable_cores
    from codeling.dataset.tokens import open_tokens
    from codeling.memory.corpus_table.counting import CorpusTokens
    from codeling.memory.corpus_table.table import FILE_NAME
    from codeling.memory.corpus_table.table_builder import BYTES_PER_ENTRY, build
    from codeling.tokenizer.tokenizer import Tokenizer

    folder = context.folder / "memory"
    path = folder / FILE_NAME
    max_entries = min(
        context.recipe.memory.corpus_entries,
        _size(context, "train").num_bytes // BYTES_PER_ENTRY,
    )
    if not max_entries:
        path.unlink(missing_ok=True)
        return []
    tokenizer = Tokenizer.load(context.folder / "tokenizer")
    tokens = open_tokens(context.folder / "tokens" / "train.bin")
    build(
        CorpusTokens(tokens.ids, tokens.offsets, tokenizer.vocab_size, tokenizer.end_of_text),
        path,
        max_entries,
        tokenizer.digest,
        usable_cores(),
        context.progress,
    )
    return [path]


def _mixture(context: RunContext) -> Iterable[Path]:
    from codeling.evaluation.run_memory import fit_run_memory
    from codeling.run_folder import RunFolder

    documents = _documents(context, "validation")
    return [fit_run_memory(RunFolder(context.folder), documents, context.progress)]


def _evaluation(context: RunContext) -> Iterable[Path]:
    from codeling.corpus.document import held_out_split, iterate
    from codeling.evaluation.intrinsic import evaluate_test_split
    from codeling.evaluation.run_memory import measure_run_memory
    from codeling.generation.engine import Engine
    from codeling.run_folder import RunFolder

    engine = Engine.load(context.folder / "model", precision="fp32")
    corpus = context.folder / "corpus"
    split = held_out_split(corpus, context.recipe.corpus.train_on)
    documents = list(_documents(context, split))
    functions = list(iterate(corpus, split, "functions"))
    run, settings = RunFolder(context.folder), context.recipe.evaluation
    result = evaluate_test_split(
        engine, run.model, documents, functions, settings, context.progress, split_name=split
    )
    result["memory"] = measure_run_memory(engine, run, documents, settings.seed, context.progress)
    path = context.folder / "evaluation.json"
    write_json(path, result)
    return [path]


def _report(context: RunContext) -> Iterable[Path]:
    from codeling.report.run_report import write_report

    if not write_report(context.folder):
        context.progress.note("the report has no curves: matplotlib is not installed")
    return [context.folder / "report.html"]


STAGES: Sequence[Stage] = (
    Stage("corpus", "corpus", ("corpus",), (), _corpus,
          ignored_settings=("corpus.train_on",), fingerprint=_corpus_fingerprint),
    Stage("tokenizer", "tokenizer", ("tokenizer", "corpus.train_on"), ("corpus",), _tokenizer,
          fingerprint=_initial_fingerprint),
    Stage("tokens", "tokens", ("corpus.train_on",), ("corpus", "tokenizer"), _tokens),
    Stage("training", "training", ("model", "training"), ("tokenizer", "tokens"), _training,
          ignored_settings=tuple(f"training.{name}" for name in WEIGHT_INDEPENDENT_KEYS),
          fingerprint=_initial_fingerprint),
    Stage("model", "model folder", ("training.init",), ("corpus", "tokenizer", "training"), _model),
    Stage("provenance", "provenance index", ("corpus.train_on",), ("corpus",), _provenance),
    Stage("memory", "corpus table", ("memory.corpus_entries",), ("corpus", "tokenizer", "tokens"),
          _memory),
    Stage("mixture", "mixture of model and memory", ("corpus.train_on",),
          ("corpus", "tokens", "model", "memory"), _mixture),
    Stage("evaluation", "evaluation", ("evaluation",), ("corpus", "model", "mixture"), _evaluation),
    Stage("report", "report", ("corpus", "tokenizer", "model", "training", "evaluation"),
          ("corpus", "training", "evaluation"), _report),
)  # fmt: skip
"""All stages in the order in which they run."""
