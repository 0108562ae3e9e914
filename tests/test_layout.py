"""The layout of the package: unique names, small folders and files, and a test file per module.

The lists below are exceptions, which only shrink.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "codeling"
MODULES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
MAX_FILES, MAX_LINES = 15, 420

SHARED_MODULE_NAMES = {
    "corpus": "the command, and the table of the recipe",
    "counting": "words for a tokenizer, and n-grams for the memory",
    "evaluation": "the command's package, and the table of the recipe",
    "document": "the record of a corpus, and the memory of one",
    "memory": "the table of the recipe, and the hook of the engine",
    "mixture": "the repositories that are trained on, and the model with its memory",
    "stages": "what the commands that build a run folder share, and the stages themselves",
    "tokenizer": "the command, and the tokenizer",
    "train": "the command, and the training of a tokenizer",
    "training": "the package, and the table of the recipe",
}
"""Names of modules that exist twice, and why."""

LONG_FILES = {"src/codeling/corpus/redaction/domains.py"}
"""A list of names, one per line."""

TESTED_ELSEWHERE = {
    "__main__.py": "tests/cli/test_torchrun.py starts it",
    "cores.py": "tests/training/test_machine.py and the sandbox's tests use it",
    "torchrun.py": "tests/cli/test_torchrun.py and tests/training/distributed/",
    "cli/app.py": "tests/cli/test_main.py",
    "cli/corpus.py": "tests/cli/test_run.py runs the four commands that build a run folder",
    "cli/extras.py": "tests/cli/test_serve.py",
    "cli/lsp.py": "tests/cli/test_serve.py",
    "cli/model_options.py": "the tests of the commands that complete code",
    "cli/finished_run.py": "tests/cli/test_run.py and tests/cli/test_demo.py",
    "cli/source_file.py": "tests/cli/test_complete.py and tests/cli/test_trace.py",
    "cli/stages.py": "tests/cli/test_run.py",
    "cli/tokenizer_compare.py": "tests/cli/test_tokenizer.py",
    "cli/train.py": "tests/cli/test_run.py",
    "run/context.py": "tests/run/test_execution.py",
    "run/stages.py": "tests/run/test_execution.py",
    "recipe/cleaning.py": "tests/recipe/test_reading.py reads every table",
    "recipe/corpus.py": "tests/recipe/test_reading.py",
    "recipe/evaluation.py": "tests/recipe/test_reading.py",
    "recipe/memory.py": "tests/recipe/test_reading.py and tests/run/test_execution.py",
    "recipe/section.py": "tests/recipe/test_reading.py",
    "recipe/sources.py": "tests/recipe/test_reading.py",
    "recipe/training.py": "tests/recipe/test_reading.py",
    "corpus/build/assembly.py": "tests/corpus/build/test_pipeline.py",
    "corpus/build/child.py": "tests/corpus/build/test_executor.py",
    "corpus/build/extraction.py": "tests/corpus/build/test_pipeline.py",
    "corpus/build/row_writer.py": "tests/corpus/build/test_pipeline.py",
    "corpus/build/selection.py": "tests/corpus/build/test_cleaning.py",
    "corpus/build/survey.py": "tests/corpus/build/test_pipeline.py",
    "corpus/build/work_folder.py": "tests/corpus/build/test_pipeline.py",
    "corpus/filters/opt_out.py": "tests/corpus/build/test_cleaning.py",
    "corpus/filters/subsample.py": "tests/corpus/readers/test_partition.py",
    "corpus/readers/layouts.py": "tests/corpus/readers/test_rows.py",
    "corpus/readers/raw_document.py": "tests/corpus/readers/test_rows.py",
    "corpus/redaction/secrets.py": "tests/corpus/redaction/test_redact.py",
    "arrays/jit.py": "tests/arrays/test_native.py",
    "arrays/user_cache.py": "tests/arrays/test_native.py",
    "dataset/encoding_journal.py": "tests/dataset/test_tokens.py kills and resumes it",
    "dataset/rng.py": "tests/dataset/test_loader.py",
    "evaluation/data/held_out.py": "tests/cli/test_export.py",
    "evaluation/tokenizer_cost.py": "tests/cli/test_export.py",
    "evaluation/results.py": "tests/evaluation/test_harness.py",
    "evaluation/sandbox/cgroup.py": "tests/evaluation/sandbox/test_floods.py",
    "evaluation/sandbox/drop_root.py": "tests/evaluation/sandbox/test_escapes.py",
    "evaluation/sandbox/jobs.py": "tests/evaluation/sandbox/test_sandbox.py",
    "evaluation/sandbox/pool.py": "tests/evaluation/sandbox/test_sandbox.py",
    "evaluation/sandbox/seccomp.py": "tests/evaluation/sandbox/test_escapes.py",
    "evaluation/sandbox/worker.py": "tests/evaluation/sandbox/test_remains.py",
    "generation/constraints.py": "tests/generation/test_engine.py",
    "generation/runners/conversion.py": "tests/generation/runners/test_fast.py",
    "generation/runners/kernels.py": "tests/generation/runners/test_fast.py",
    "generation/runners/processor.py": "tests/generation/runners/test_tiles.py",
    "generation/runners/torch.py": "tests/generation/conftest.py: the engine's tests run on it",
    "evaluation/file_example.py": "tests/cli/test_demo.py",
    "evaluation/memory_gain.py": "tests/run/test_execution.py",
    "evaluation/run_memory.py": "tests/run/test_execution.py",
    "memory/chains.py": "tests/memory/test_document.py",
    "memory/gating/gate.py": "tests/memory/test_mixture.py",
    "memory/chain_kernels.py": "tests/memory/test_document.py",
    "memory/loading.py": "tests/cli/test_complete.py and tests/test_api.py",
    "memory/corpus_table/ngram_lookup.py": "test_kneser_ney.py and test_table_builder.py",
    "memory/corpus_table/table.py": "tests/memory/corpus_table/test_table_builder.py",
    "memory/corpus_table/trie.py": "tests/memory/corpus_table/test_kneser_ney.py",
    "memory/source.py": "the tests of the sources",
    "memory/spans.py": "tests/memory/test_mixture.py",
    "model/folder.py": "tests/model/test_weights.py",
    "provenance/index_file.py": "tests/provenance/test_index.py",
    "provenance/passages.py": "tests/provenance/test_index.py",
    "report/memory_section.py": "tests/report/test_run_report.py",
    "report/corpus_section.py": "tests/report/test_run_report.py",
    "report/run_files.py": "tests/report/test_run_report.py",
    "tokenizer/comparison_page.py": "tests/tokenizer/test_measure.py",
    "serving/client.py": "tests/serving/test_diagnosis.py and tests/cli/test_serve.py",
    "serving/http/exchange.py": "tests/serving/http/test_routes.py and test_abuse.py",
    "serving/http/middleware.py": "tests/serving/http/test_routes.py and test_abuse.py",
    "serving/lsp/completer.py": "tests/cli/test_serve.py",
    "serving/jupyter/jupyter_handlers.py": "tests/serving/jupyter/test_in_jupyterlab.py, a proof",
    "serving/playground/api.py": "tests/serving/playground/ comes through it",
    "serving/protocol/dialect.py": "the tests of the dialects",
    "serving/protocol/query.py": "the tests of the dialects",
    "serving/http/request_log.py": "tests/serving/http/test_monitoring.py",
    "serving/requests.py": "tests/serving/test_same_text.py and protocol/test_openai.py",
    "serving/service.py": "tests/serving/http/test_routes.py",
    "serving/settings.py": "the tests of the server",
    "training/checkpoint/resume.py": "tests/training/test_trainer_resumed.py",
    "training/checkpoint/sharded_tensors.py": "tests/training/distributed/",
    "training/distributed/fsdp.py": "tests/training/distributed/",
    "training/clock.py": "tests/training/test_trainer_by_the_clock.py",
    "training/run_training.py": "tests/run/test_execution.py",
    "training/data.py": "tests/training/test_trainer.py",
    "training/samples.py": "tests/training/test_trainer.py",
    "training/start.py": "tests/training/test_trainer_resumed.py",
    "training/train_module.py": "tests/training/test_trainer.py",
    "training/optimizer/parameter_groups.py": "tests/training/optimizer/test_adamw.py",
}
"""Modules without a test file of the same path → the tests that cover them."""

INSIDE_THE_SANDBOX = "evaluation/sandbox/inside/"
"""Its modules run in the sandbox; the tests of evaluation/sandbox/ cover them through it."""


def public_classes() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for node in ast.parse((SOURCE / module).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module)
    return found


def twice(names: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: modules for name, modules in names.items() if len(modules) > 1}


def check_only_needed(exceptions: Iterable[str], needed: Iterable[str]) -> None:
    """The exceptions that are not needed: remove them from their list."""
    assert sorted(set(exceptions) - set(needed)) == []


def test_public_class_names_are_unique() -> None:
    assert twice(public_classes()) == {}


def test_module_names_are_unique_or_explained() -> None:
    names: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        path = Path(module)
        if path.name != "__init__.py":
            names[path.stem].append(module)
    unexplained = {name: w for name, w in twice(names).items() if name not in SHARED_MODULE_NAMES}
    assert unexplained == {}


def test_pytest_enters_every_folder_of_tests(pytestconfig: pytest.Config) -> None:
    skipped = pytestconfig.getini("norecursedirs")
    for path in (ROOT / "tests").rglob("test_*.py"):
        folders = path.relative_to(ROOT).parts[:-1]
        assert not any(fnmatch(folder, pattern) for folder in folders for pattern in skipped), path


def test_no_folder_is_flat() -> None:
    counts: dict[str, int] = defaultdict(int)
    for module in MODULES:
        counts[Path(module).parent.as_posix()] += 1
    del counts["cli"]  # a module per command
    assert {folder: count for folder, count in counts.items() if count > MAX_FILES} == {}


def test_no_file_is_long() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8").count("\n")
        for path in [*SOURCE.rglob("*.py"), *ROOT.glob("tests/**/*.py")]
    }
    assert {
        name: length for name, length in lengths.items() if length > MAX_LINES
    }.keys() <= LONG_FILES


def test_every_module_has_its_test_file() -> None:
    without = set()
    for module in MODULES:
        path = Path(module)
        if path.name == "__init__.py" or module.startswith(INSIDE_THE_SANDBOX):
            continue
        if not (ROOT / "tests" / path.parent / f"test_{path.name}").exists():
            without.add(module)
    assert sorted(without - TESTED_ELSEWHERE.keys()) == []


def test_every_module_of_the_list_exists() -> None:
    check_only_needed(TESTED_ELSEWHERE, MODULES)
