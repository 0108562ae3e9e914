"""What the memory adds to a model: bits per byte, tokens, lines and function bodies.

    python -m benchmarks.memory.gain runs/demo

Whole files of the run's test split, of repositories that were not trained on. A file is left out if
more than 3 % of its tokens lie in runs of 24 or more that occur in the training tokens. The files
of a repository before a file, in the order of their paths, are its project. The run's own gate is
used if there is one, else a gate is fitted on the validation split. Intervals are a bootstrap over
repositories.
"""

import argparse
import ast
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeling.corpus.document import iterate
from codeling.dataset.tokens import open_tokens
from codeling.evaluation.memory_gain import POSITIONS, MemoryRow, measure_memory, memory_rows
from codeling.evaluation.memory_scores import ProjectFile, choose_files, fit_memory
from codeling.evaluation.metrics.pass_at_k import Score, ratio
from codeling.evaluation.syntax import body_statements, first_line, is_stub, parse
from codeling.generation.engine import Engine
from codeling.generation.text.blocks import cut_unfinished
from codeling.memory.chains import Chains
from codeling.memory.gating.parameters import FILE_NAME, Parameters, load_parameters
from codeling.memory.loading import load_corpus
from codeling.memory.mixture import MemoryMixture
from codeling.memory.project import ORDERS, FixedProject
from codeling.memory.source import Ids, ProposalSource
from codeling.ngrams import gram_hashes
from codeling.run_folder import RunFolder

RUN_LENGTH, MAX_SHARED = 24, 0.03


def shared_shares(documents: Sequence[NDArray[Any]], train: NDArray[Any]) -> list[float]:
    """The share of each document's tokens that lie in runs that occur in ``train``."""

    def hashes(ids: NDArray[Any]) -> NDArray[np.uint64]:
        return gram_hashes(ids.astype(np.uint64) + np.uint64(1), RUN_LENGTH)

    of_documents = [hashes(ids) for ids in documents]
    wanted = np.unique(np.concatenate(of_documents))
    is_shared = np.zeros(len(wanted), bool)
    step = 4_000_000
    for begin in range(0, len(train), step):
        found = np.unique(hashes(np.asarray(train[begin : begin + step + RUN_LENGTH - 1])))
        places = np.searchsorted(wanted, found)
        places[places == len(wanted)] = 0
        is_shared[places[wanted[places] == found]] = True
    shares = []
    for ids, of_document in zip(documents, of_documents, strict=True):
        covered = np.zeros(len(ids) + 1, np.int64)
        starts = np.flatnonzero(is_shared[np.searchsorted(wanted, of_document)])
        np.add.at(covered, starts, 1)
        np.add.at(covered, starts + RUN_LENGTH, -1)
        shares.append(float((np.cumsum(covered)[:-1] > 0).mean()) if len(ids) else 0.0)
    return shares


def read_files(run: RunFolder, split: str, engine: Engine) -> list[ProjectFile]:
    """The files of a split; their ids begin with ``<|endoftext|>``."""
    tokenizer = engine.tokenizer
    return [
        ProjectFile(
            each.repository,
            each.path,
            np.array([tokenizer.end_of_text, *tokenizer.encode(each.text)]),
        )
        for each in iterate(run.corpus, split, "files")
    ]


def interval(right: Sequence[int], of: Sequence[int], repositories: Sequence[str]) -> Score:
    """Ratio of sums with its 95 % interval: bootstrap over repositories."""
    groups = np.unique(repositories, return_inverse=True)[1]
    score = ratio(np.bincount(groups, right).tolist(), np.bincount(groups, of).tolist())
    assert score is not None, "something was measured"
    return score


class Measured:
    """A model, its memory, and the files to measure on."""

    def __init__(
        self,
        engine: Engine,
        parameters: Parameters,
        corpus: ProposalSource | None,
        files: Sequence[ProjectFile],
    ) -> None:
        self.engine, self.parameters, self.corpus = engine, parameters, corpus
        self.files = sorted(files, key=lambda file: (file.repository, file.path))
        self.scored = [file for file in self.files if file.is_scored]
        self.texts = [engine.tokenizer.decode(file.ids[1:].tolist()) for file in self.scored]
        self.befores = list(self._befores())

    def _befores(self) -> Iterator[Chains]:
        """The files before each scored file."""
        done: dict[str, Chains] = {}
        for file in self.files:
            before = done.setdefault(file.repository, Chains(ORDERS))
            if file.is_scored:
                yield before.fork()
            before.append(file.ids)

    def memory(self, row: MemoryRow, number: int) -> MemoryMixture | None:
        """The memory of a row for one scored file."""
        if not row.sources:
            return None
        token_bytes = self.engine.tokenizer.token_bytes
        trust = self.parameters.trust["project"]
        earlier = FixedProject(trust, len(token_bytes), self.befores[number])
        return MemoryMixture(
            self.parameters,
            token_bytes,
            corpus=self.corpus if "corpus" in row.sources else None,
            project=earlier if "project" in row.sources else None,
        )


def tokens_right(measured: Measured, table: Sequence[MemoryRow], limit: int) -> dict[str, Any]:
    """The share of tokens that are the most likely one, token by token through the engine."""
    engine = measured.engine
    result = {}
    chosen = []
    total = 0
    for number in np.random.Generator(np.random.PCG64(1)).permutation(len(measured.scored)):
        if total < limit:
            chosen.append(int(number))
            total += len(measured.scored[number].ids) - 1
    for row in table:
        if not row.has_model:
            continue
        right, of, repositories = [], [], []
        seconds = 0.0
        for number in chosen:
            file = measured.scored[number]
            memory = measured.memory(row, number)
            state = memory.open(file.ids[:1].tolist()) if memory else None
            found = 0
            for logits, token in zip(model_logits(engine, file.ids), file.ids[1:], strict=True):
                if state is not None:
                    start = time.perf_counter()
                    state.mix(logits)
                    state.observe(int(token))
                    seconds += time.perf_counter() - start
                found += int(logits.argmax() == token)
            right.append(found)
            of.append(len(file.ids) - 1)
            repositories.append(file.repository)
        result[row.name] = {
            "right": asdict(interval(right, of, repositories)),
            "milliseconds_per_token": 1000 * seconds / total,
        }
    return result


def model_logits(engine: Engine, ids: Ids) -> Iterator[NDArray[np.float32]]:
    """The model's logits (V,) at each position of a file."""
    import torch

    from codeling.generation.scoring import windows

    model = engine.model
    with torch.inference_mode():
        for begin, end, first in windows(len(ids) - 1, model.config.context_length):
            hidden = model.hidden(torch.from_numpy(ids[None, begin:end]))
            yield from model.head(hidden[0, first - begin :]).float().numpy()


def lines_right(measured: Measured, table: Sequence[MemoryRow], limit: int) -> dict[str, Any]:
    """The share of lines that greedy decoding writes exactly, from the start of the line."""
    places = []
    for number, text in enumerate(measured.texts):
        starts = [match for match, line in _lines(text) if len(line.strip()) >= 3]
        places += [(number, start) for start in starts[5:]]
    order = np.random.Generator(np.random.PCG64(2)).permutation(len(places))
    chosen = sorted(places[index] for index in order[:limit])

    def is_right(completion: str, number: int, start: int) -> bool:
        text = measured.texts[number]
        return completion.rstrip() == text[start : text.find("\n", start)].rstrip()

    return _completed(measured, table, chosen, is_right, {"stop": "\n", "max_new_tokens": 64})


def _lines(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            yield start, line
        start += len(line)


def bodies_parsed(measured: Measured, table: Sequence[MemoryRow], limit: int) -> dict[str, Any]:
    """The share of greedy function bodies with code with which their file parses."""
    ends: dict[tuple[int, int], int] = {}
    for number, text in enumerate(measured.texts):
        tree = parse(text)
        lines = text.splitlines(keepends=True)
        if tree is None or sum(map(len, lines)) != len(text):
            continue
        offsets = np.cumsum([0, *map(len, lines)]).tolist()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = body_statements(node)
                if body and first_line(body[0]) > node.lineno and not is_stub(body):
                    end = body[-1].end_lineno or first_line(body[-1])
                    if offsets[end] - offsets[first_line(body[0]) - 1] <= 1500:
                        ends[number, offsets[first_line(body[0]) - 1]] = offsets[end]
    places = sorted(ends)
    order = np.random.Generator(np.random.PCG64(3)).permutation(len(places))
    chosen = sorted(places[index] for index in order[:limit])

    def is_right(completion: str, number: int, start: int) -> bool:
        text = measured.texts[number]
        body = cut_unfinished(text[:start], completion)
        if not body.strip():
            return False
        tree = parse(f"{text[:start]}{body.rstrip()}\n{text[ends[number, start] :]}")
        line = text[:start].count("\n") + 1
        functions = [
            node
            for node in ast.walk(tree or ast.Module([], []))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.lineno < line <= (node.end_lineno or 0)
        ]
        return bool(functions) and not is_stub(body_statements(functions[-1]))

    options = {"stop_at_block_end": True, "max_new_tokens": 192}
    return _completed(measured, table, chosen, is_right, options)


def _completed(
    measured: Measured,
    table: Sequence[MemoryRow],
    chosen: Sequence[tuple[int, int]],
    is_right: Callable[[str, int, int], bool],
    options: dict[str, Any],
) -> dict[str, Any]:
    """The share of completions at ``chosen`` (file, offset) that are right."""
    engine = measured.engine
    result = {}
    for row in table:
        if not row.has_model:
            continue
        right = []
        for number in sorted({number for number, _ in chosen}):
            starts = [start for of, start in chosen if of == number]
            engine.memory = measured.memory(row, number)
            prompts = [measured.texts[number][:start] for start in starts]
            answers = engine.complete_batch(prompts, **options)
            right += [
                is_right(answer.text, number, start)
                for (answer,), start in zip(answers, starts, strict=True)
            ]
        engine.memory = None
        repositories = [measured.scored[number].repository for number, _ in chosen]
        result[row.name] = {"right": asdict(interval(right, [1] * len(right), repositories))}
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", metavar="RUN", type=Path, help="run folder")
    parser.add_argument("--tokens", type=int, default=200_000, help="tokens scored")
    parser.add_argument("--exact-tokens", type=int, default=20_000, help="tokens for 'right'")
    parser.add_argument("--lines", type=int, default=500)
    parser.add_argument("--bodies", type=int, default=150)
    parser.add_argument("--fit-tokens", type=int, default=100_000)
    options = parser.parse_args()
    run = RunFolder(options.folder)
    engine = Engine.load(options.folder, "cpu")
    test = read_files(run, "test", engine)
    train = open_tokens(run.path / "tokens" / "train.bin").ids
    shares = shared_shares([file.ids[1:] for file in test], train)
    left_out = {
        (file.repository, file.path)
        for file, share in zip(test, shares, strict=True)
        if share > MAX_SHARED
    }
    corpus = load_corpus(run, engine.tokenizer)
    fitted = run.memory / FILE_NAME
    if fitted.is_file():
        parameters = load_parameters(fitted)
    else:
        validation = choose_files(read_files(run, "validation", engine), options.fit_tokens)
        vocab_size = engine.tokenizer.vocab_size
        parameters = fit_memory(engine.model, validation, corpus, vocab_size)
    usable = [file for file in test if (file.repository, file.path) not in left_out]
    measured = Measured(engine, parameters, corpus, choose_files(usable, options.tokens))
    table = memory_rows(corpus is not None, has_project=True)
    left_out_text = f"{len(left_out)} of {len(test)} files left out: they share text with train"
    gain = measure_memory(engine.model, engine.tokenizer, measured.files, parameters, corpus)
    print(
        f"{gain['num_documents']} files of {gain['num_repositories']} repositories, "
        f"{gain['num_tokens']:,} tokens; {left_out_text}"
    )
    found_tokens = tokens_right(measured, table, options.exact_tokens)
    found_lines = lines_right(measured, table, options.lines)
    found_bodies = bodies_parsed(measured, table, options.bodies)
    alone = gain["rows"][0]["bits_per_byte"]
    print(f"\n{'model and sources':36}{'bits per byte':>22}{'less':>7}", end="")
    print(f"{'token right':>21}{'line right':>21}{'body parses':>21}{'ms/token':>10}")
    for row in gain["rows"]:
        low, high = row["interval_95"]
        value = f"{row['bits_per_byte']:.3f} ({low:.3f}–{high:.3f})"
        line = f"{row['name']:36}{value:>22}{1 - row['bits_per_byte'] / alone:7.1%}"
        for of in (found_tokens, found_lines, found_bodies):
            if row["name"] in of:
                score = of[row["name"]]["right"]
                low, high = score["interval_95"]
                line += f"{score['value']:>11.1%} ({low:.1%}–{high:.1%})".rjust(21)
        if row["name"] in found_tokens:
            line += f"{found_tokens[row['name']]['milliseconds_per_token']:10.3f}"
        print(line)
    print("\nbits per byte by position in the file, and who gave the probability")
    print(f"{'':36}" + "".join(f"{f'from {position}':>11}" for position in POSITIONS))
    for row in gain["rows"]:
        print(f"{row['name']:36}" + "".join(f"{value:11.3f}" for value in row["by_position"]))
    print(
        json.dumps(
            {"gain": gain, "tokens": found_tokens, "lines": found_lines, "bodies": found_bodies}
        )
    )


if __name__ == "__main__":
    main()
