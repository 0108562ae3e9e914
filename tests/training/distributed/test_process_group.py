"""Two processes (gloo) equal one: the same tokens and losses, also after stops and aborts.

Muon multiplies in fp32 here. A processor rounds products in bf16 differently for batches of another
size, and a rank that owns half of the matrices has smaller batches.
"""

import os
import signal
import socket
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from codeling.dataset import loader
from codeling.dataset.tokens import open_tokens, write_tokens
from codeling.errors import StoppedError, UsageError
from codeling.model.config import GPT2Config
from codeling.recipe import TrainingRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import metrics, samples, start, train_module
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData
from codeling.training.distributed import process_group
from codeling.training.distributed.process_group import SINGLE_PROCESS, World
from codeling.training.planning import plan
from codeling.training.trainer import train

from ...forking import Fork, preload

pytestmark = [
    pytest.mark.timeout(1500),  # on a machine that does much else
    pytest.mark.filterwarnings("default:a process was aborted"),
]

PRELOADED = (
    "torch._dynamo", "torch.distributed.checkpoint", "torch.distributed.fsdp",
    "torch.distributed.nn.functional",
)  # fmt: skip
"""Imported once, for all forks."""
DAMAGE = "malloc(): unaligned tcache chunk detected"
STEPS, CONTEXT = 6, 32
SPLITS = ("train", "validation")
IN_TWO = (
    "ddp", "fsdp", "ddp in turn", "fsdp in turn", "fsdp to ddp", "recomputed", "first dies",
    "second dies",
)  # fmt: skip
SHAPE = (512, CONTEXT, 2, 2, 16)
RECIPE = TrainingRecipe(
    steps=STEPS, tokens_per_step=8 * CONTEXT, micro_batch_size=4, adamw_lr=0.01, muon_lr=0.02,
    validation_tokens=2 * CONTEXT, validation_interval=0.5, sample_interval=1.0, threads=1,
    device="cpu", precision="fp32", seed=5, key_words=("def", "import"),
    warm_start_steps=3,
).model_dump(mode="json")  # fmt: skip


class Launcher:
    """Starts processes that train together."""

    def __init__(self, tokens: Path, folder: Path) -> None:
        self._tokens = tokens
        self._folder = folder
        preload(*PRELOADED)

    def run(self, jobs: list[dict[str, Any]]) -> None:
        """Do ``jobs`` one after another in two processes.

        About once in two thousand jobs glibc finds a process's heap damaged and ends it with
        :data:`DAMAGE`. The cause is unknown: valgrind saw no wrong write, and 900 more jobs did
        not show it again. After this crash alone the jobs are started once more, which continues
        the training, and a warning shows where each thread stood.
        """
        codes, errors = self.run_once(jobs)
        if -signal.SIGABRT in codes and DAMAGE in errors:
            warnings.warn(f"a process was aborted ({codes}):\n{errors}", stacklevel=2)
            codes, errors = self.run_once(jobs)
        assert codes == [0, 0], errors

    def run_once(self, jobs: list[dict[str, Any]]) -> tuple[list[int], str]:
        """Return the exit code of each process, and their standard error."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "2",
            "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo",
        }  # fmt: skip
        logs = [self._folder / f"{rank}.log" for rank in range(2)]
        with ExitStack() as stack:
            processes = []
            for rank, log in enumerate(logs):
                own = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                process = Fork(work, own, self._tokens, jobs, errors=log)
                processes.append(stack.enter_context(process))
            codes = [process.wait() for process in processes]
        return codes, "\n".join(log.read_text() for log in logs)


@pytest.fixture(scope="module")
def launcher(tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Launcher:
    return Launcher(tokens, tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def tokens(
    tokenizer: Tokenizer, python_files: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    write_tokens(python_files[:5], tokenizer, folder / "train.bin")
    write_tokens(python_files[5:6], tokenizer, folder / "validation.bin")
    tokenizer.save(folder / "tokenizer.json")
    return folder


def work(environment: dict[str, str], tokens: Path, jobs: list[dict[str, Any]]) -> None:
    """Do ``jobs`` as one of several processes."""
    os.environ.update(environment)
    warnings.simplefilter("error")
    for job in jobs:
        do(tokens, job)
    process_group.leave()
    threads = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    assert not [name for name in threads if "gloo" in name], threads


def do(tokens: Path, job: dict[str, Any]) -> None:
    """Do ``job`` in this process."""
    folder, rank = Path(job["folder"]), os.environ.get("RANK", "0")
    train_split, validation = (open_tokens(tokens / f"{split}.bin") for split in SPLITS)
    inputs = TrainingData(Tokenizer.load(tokens), train_split, validation)

    def should_stop() -> bool:
        is_due = len(losses(folder)) >= job["until"]
        if is_due and rank == job.get("dies"):
            os.abort()
        return is_due and rank == "0"

    with pytest.MonkeyPatch.context() as patch, suppress(StoppedError):
        patch.setattr(loader, "WINDOW_SEQUENCES", 16)
        for module in (plan, start):
            patch.setattr(module, "matrix_rate", lambda machine: 1e12)
        patch.setattr(samples, "_MAX_NEW_TOKENS", 4)
        patch.setattr(train_module, "native_dtype", lambda device: torch.float32)
        train(
            TrainingRecipe.model_validate(job["recipe"]), GPT2Config(*job["shape"]), inputs,
            folder, should_stop=should_stop, sample=samples.PromptSampler(inputs.tokenizer),
        )  # fmt: skip


@pytest.fixture(scope="module")
def runs(tokens: Path, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of finished runs: by one process, by two, and by both in turn."""
    top = tmp_path_factory.mktemp("runs")

    def job(name: str, until: int = 99, **changes: Any) -> dict[str, Any]:
        recipe = {**RECIPE, **changes}
        return {"folder": str(top / name), "recipe": recipe, "until": until, "shape": SHAPE}

    # Two processes: whole runs, replicated (ddp) and sharded (fsdp), and parts of runs.
    launcher.run([
        job("ddp", parallel="ddp"), job("fsdp", parallel="fsdp"),
        job("ddp in turn", 2, parallel="ddp"), job("fsdp in turn", 2, parallel="fsdp"),
        job("fsdp to ddp", 3, parallel="fsdp"),
        job("recomputed", 3, parallel="fsdp", activation_checkpointing=True),
    ])  # fmt: skip
    for number, name in enumerate(("first dies", "second dies")):
        dying = job(name, 3, parallel="fsdp", keep_every=2) | {"dies": str(number)}
        codes, said = launcher.run_once([dying])
        assert codes[number] == -signal.SIGABRT, said
        assert codes[1 - number] != 0, said
    for each in (job("alone"), job("ddp in turn", 4), job("fsdp in turn", 5)):
        do(tokens, each)
    launcher.run([
        job("ddp in turn", parallel="ddp"), job("fsdp in turn", parallel="fsdp"),
        job("fsdp to ddp", parallel="ddp"), job("recomputed", parallel="fsdp"),
        job("first dies", parallel="fsdp"), job("second dies", parallel="ddp"),
    ])  # fmt: skip
    return top


def losses(folder: Path, key: str = "loss") -> list[float]:
    lines = metrics.read(folder / "metrics.jsonl")
    return [line[key] for line in lines if line["kind"] == "step"]


def last(folder: Path) -> state.TrainingState:
    newest, complaints = state.newest_intact(folder / "checkpoints")
    assert newest is not None
    assert complaints == []
    return state.load(newest)


def with_gradient(name: str, value: torch.Tensor) -> torch.Tensor:
    """``value`` without the bias of the keys.

    That bias adds the same to all scores of a query, which softmax ignores, so its gradient is
    rounding noise, and AdamW scales noise up to whole updates.
    """
    if name.endswith("attn.c_attn.bias"):
        queries, _, values = value.chunk(3)
        return torch.cat([queries, values])
    return value


@pytest.mark.parametrize("name", IN_TWO)
def test_two_processes_equal_one(runs: Path, name: str) -> None:
    # One process takes the rows in two passes, two processes in one each: the same sums.
    expected = losses(runs / "alone")
    assert len(expected) == STEPS
    assert losses(runs / name) == pytest.approx(expected, abs=1e-6)
    assert losses(runs / name, "gradient_norm") == pytest.approx(
        losses(runs / "alone", "gradient_norm"), rel=1e-4
    )
    found, whole = last(runs / name), last(runs / "alone")
    assert found.position == whole.position  # the same tokens
    assert found.step == STEPS
    assert found.model.keys() == whole.model.keys()
    assert found.optimizer.keys() == whole.optimizer.keys()
    for key, value in whole.model.items():
        ours, theirs = (with_gradient(key, each) for each in (found.model[key], value))
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    validated = [
        [
            line
            for line in metrics.read(runs / run / "metrics.jsonl")
            if line["kind"] == "validation"
        ]
        for run in (name, "alone")
    ]
    for one, other in zip(*validated, strict=True):
        assert one["step"] == other["step"]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
    (sample,) = metrics.read(runs / name / "samples.jsonl")
    assert sample["step"] == STEPS


def test_sharded_models_are_written_as_shards_without_pickle(runs: Path) -> None:
    newest = state.checkpoints(runs / "fsdp" / "checkpoints")[-1]
    files = {path.relative_to(newest).as_posix() for path in newest.rglob("*") if path.is_file()}
    pieces = {name for name in files if name.startswith("sharded/")}
    assert len(pieces) == 2
    assert files == {*pieces, "manifest.json", "state.json"}
    assert all(name.endswith(".safetensors") for name in pieces)
    for name in pieces:
        data = bytearray((newest / name).read_bytes())
        data[len(data) // 2] ^= 1
        (newest / name).write_bytes(data)
        assert name in str(state.find_damage(newest))
        data[len(data) // 2] ^= 1
        (newest / name).write_bytes(data)
    assert state.find_damage(newest) is None


def test_sequences_divide_evenly_among_processes_or_are_refused() -> None:
    for size in (1, 2, 4):
        shares = [World(rank, size).local_slice(8) for rank in range(size)]
        assert [row for share in shares for row in range(8)[share]] == list(range(8))
    with pytest.raises(
        UsageError, match="9 sequences per step cannot be divided among 2 processes"
    ):
        World(0, 2).check_divides(9)


def test_collectives_of_a_single_process_do_nothing() -> None:
    assert SINGLE_PROCESS.broadcast(lambda: {"a": [1]}) == {"a": [1]}
    assert SINGLE_PROCESS.sum(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert SINGLE_PROCESS.is_first
    SINGLE_PROCESS.barrier()


def test_large_models_are_sharded_automatically() -> None:
    from codeling.training.train_module import is_sharded

    small, large = GPT2Config(32768, 1024, 12, 12, 768), GPT2Config(50304, 2048, 24, 16, 2048)
    recipe = TrainingRecipe()
    assert [is_sharded(recipe, config, World(0, 2)) for config in (small, large)] == [False, True]
    assert not is_sharded(recipe, large, SINGLE_PROCESS)
    ddp = TrainingRecipe(parallel="ddp")
    assert not is_sharded(ddp, large, World(0, 2))
