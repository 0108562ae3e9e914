"""The predictions of the model and of each source of a memory on whole documents.

The memory's parameters are fitted on these scores, and the memory is measured by them. Files of a
repository are read in the order of their paths: a document's project is the files before it. The
model reads windows that advance by half a context, as for bits per byte. This module must not know
where documents come from.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codeling.evaluation.data.document_sample import LocatedText, location_hash
from codeling.generation.scoring import windows
from codeling.memory.chain_kernels import TRUST_SHAPE
from codeling.memory.chains import Chains
from codeling.memory.document import document_predictor
from codeling.memory.gating.fitting import Evidence, ModelScores, fit_gates, fit_trust
from codeling.memory.gating.parameters import Parameters
from codeling.memory.project import ORDERS, project_predictor
from codeling.memory.source import Ids, ProposalSource, Scores
from codeling.model.gpt2 import GPT2
from codeling.progress import SILENT, Progress
from codeling.tokenizer.tokenizer import Tokenizer

MAX_BYTES = 6_000_000
"""Maximum text that is encoded: the scored files, and those that are their project."""

_BATCH_SIZE = 16


@dataclass(frozen=True)
class ProjectFile:
    """A file as ids."""

    repository: str
    path: str
    ids: Ids
    """(T + 1,): ``<|endoftext|>``, then the file."""
    is_scored: bool = True
    """False: the file is only part of the project of later ones."""


def document_ids(tokenizer: Tokenizer, ids: Sequence[int] | NDArray[Any]) -> Ids:
    """A document's ids after ``<|endoftext|>``."""
    return np.concatenate([[tokenizer.end_of_text], np.asarray(ids, np.int64)])


def encode_files(
    tokenizer: Tokenizer, documents: Iterable[LocatedText], seed: int, max_bytes: int = MAX_BYTES
) -> list[ProjectFile]:
    """The documents of random repositories, ``max_bytes`` or a little less."""
    by_repository: dict[str, list[LocatedText]] = {}
    for document in documents:
        by_repository.setdefault(document.repository, []).append(document)
    found: list[LocatedText] = []
    for name in sorted(by_repository, key=lambda name: location_hash(by_repository[name][0], seed)):
        for document in by_repository[name]:
            max_bytes -= len(document.text)
            if max_bytes >= 0:
                found.append(document)
    encoded = tokenizer.encode_batch([each.text for each in found])
    return [
        ProjectFile(each.repository, each.path, document_ids(tokenizer, ids))
        for each, ids in zip(found, encoded, strict=True)
    ]


def choose_files(files: Sequence[ProjectFile], num_tokens: int, seed: int = 0) -> list[ProjectFile]:
    """A random sample of about ``num_tokens`` to score, and the other files of its repositories.

    No repository has more than a fifth of the tokens, unless there are fewer than five.
    """
    largest = num_tokens / min(5, len({file.repository for file in files}) or 1)
    by_repository: dict[str, int] = {}
    chosen: set[int] = set()
    total = 0
    for number in np.random.Generator(np.random.PCG64(seed)).permutation(len(files)).tolist():
        repository, size = files[number].repository, len(files[number].ids) - 1
        in_repository = by_repository.get(repository, 0) + size
        if total + size <= num_tokens and in_repository <= largest:
            by_repository[repository] = in_repository
            chosen.add(number)
            total += size
    if not chosen and files:  # all of them are large
        smallest = min(range(len(files)), key=lambda number: len(files[number].ids))
        chosen, by_repository = {smallest}, {files[smallest].repository: 1}
    return [
        replace(file, is_scored=number in chosen)
        for number, file in enumerate(files)
        if file.repository in by_repository
    ]


def fit_memory(
    model: GPT2,
    files: Sequence[ProjectFile],
    corpus: ProposalSource | None,
    vocab_size: int,
    progress: Progress = SILENT,
) -> Parameters:
    """Fit the parameters of the memory on held-out files. ``vocab_size`` is the tokenizer's."""
    neutral = np.full(TRUST_SHAPE, 0.5, np.float32)
    document = document_predictor(neutral, vocab_size)
    project = project_predictor(neutral, vocab_size)
    of_documents, of_projects = [], []
    for file, before in _scored(files):
        of_documents.append(document.count(file.ids))
        of_projects.append(project.count(file.ids, before))
    trust = {
        "document": fit_trust(np.concatenate(of_documents), vocab_size),
        "project": fit_trust(np.concatenate(of_projects), vocab_size),
    }
    evidence = collect(model, files, Parameters(trust, {}), corpus, vocab_size, progress)
    return Parameters(trust, fit_gates(Evidence.concatenate(evidence), vocab_size))


def collect(
    model: GPT2,
    files: Sequence[ProjectFile],
    parameters: Parameters,
    corpus: ProposalSource | None,
    vocab_size: int,
    progress: Progress = SILENT,
) -> list[Evidence]:
    """The evidence of each scored file, sorted by repository and path.

    The sources are the document, the corpus if there is one, and the project, in this order.
    """
    document = document_predictor(parameters.trust["document"], vocab_size)
    project = project_predictor(parameters.trust["project"], vocab_size)
    documents: list[Ids] = []
    sources: list[dict[str, Scores]] = []
    for file, before in _scored(files):
        found = {"document": document.score(file.ids)}
        if corpus is not None:
            found["corpus"] = corpus.score(file.ids)
        found["project"] = project.score(file.ids, before)
        documents.append(file.ids)
        sources.append(found)
    tops = [np.stack([each.top for each in found.values()], 1) for found in sources]
    scores = score_model(model, documents, tops, progress)
    return [
        Evidence(np.arange(1, len(ids)), of_model, found)
        for ids, of_model, found in zip(documents, scores, sources, strict=True)
    ]


def _scored(files: Sequence[ProjectFile]) -> Iterator[tuple[ProjectFile, Chains]]:
    """Each scored file, with the files of its repository before it."""
    in_order = sorted(files, key=lambda file: (file.repository, file.path))
    for _, of_repository in groupby(in_order, key=lambda file: file.repository):
        before = Chains(ORDERS)
        for file in of_repository:
            if file.is_scored:
                yield file, before
            before.append(file.ids)


def score_model(
    model: GPT2,
    documents: Sequence[Ids],
    tops: Sequence[NDArray[np.int64]],
    progress: Progress = SILENT,
) -> list[ModelScores]:
    """Score documents (T + 1,), and the tokens ``tops`` (T, S) at each position; -1: none."""
    scores = [
        ModelScores(
            np.empty(len(ids) - 1, np.float32),
            np.empty(len(ids) - 1, np.float32),
            np.empty(len(ids) - 1, np.float32),
            np.empty(len(ids) - 1, np.int64),
            np.empty(of_document.shape, np.float32),
        )
        for ids, of_document in zip(documents, tops, strict=True)
    ]
    waiting = [
        (number, *window)
        for number, ids in enumerate(documents)
        for window in windows(len(ids) - 1, model.config.context_length)
    ]
    waiting.sort(key=lambda window: window[2] - window[1])
    device = model.wte.weight.device
    num_tokens = sum(len(ids) - 1 for ids in documents)
    with torch.inference_mode(), progress.task("memory", num_tokens, "tokens") as advance:
        for start in range(0, len(waiting), _BATCH_SIZE):
            batch = waiting[start : start + _BATCH_SIZE]
            longest = max(end - begin for _, begin, end, _ in batch)
            inputs = torch.zeros(len(batch), longest, dtype=torch.int64)
            for row, (number, begin, end, _) in enumerate(batch):
                inputs[row, : end - begin] = torch.from_numpy(documents[number][begin:end])
            hidden = model.hidden(inputs.to(device))
            for row, (number, begin, end, first) in enumerate(batch):
                places = slice(first, end)
                found = torch.log_softmax(
                    model.head(hidden[row, first - begin : end - begin]).float(), dim=-1
                )
                _write(
                    scores[number],
                    places,
                    found.cpu(),
                    torch.from_numpy(documents[number][first + 1 : end + 1]),
                    torch.from_numpy(tops[number][places]),
                )
                advance(end - first)
    return scores


def _write(
    scores: ModelScores,
    places: slice,
    found: torch.Tensor,
    targets: torch.Tensor,
    tops: torch.Tensor,
) -> None:
    """Write the scores of log-probabilities ``found`` (N, V) to ``scores`` at ``places``."""
    highest, top = found.max(dim=-1)
    scores.log_probability[places] = found.gather(1, targets[:, None])[:, 0].numpy()
    scores.entropy[places] = -(found.exp() * found).nan_to_num(0).sum(dim=-1).numpy()
    scores.highest[places] = highest.numpy()
    scores.top[places] = top.numpy()
    scores.of_tops[places] = found.gather(1, tops.clamp(min=0)).numpy()
