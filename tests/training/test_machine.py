import os
import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from codeling.errors import UsageError
from codeling.training import machine
from codeling.training.machine import (
    Machine,
    choose_device,
    matrix_rate,
    multiplies_bf16,
    processor_features,
    set_up,
    wait_for,
)


@pytest.mark.parametrize("name", ["tpu0", "mps0", "", "cuda:x", "cpu,cuda", "meta", "xla"])
def test_an_unknown_device_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UsageError, match="write auto, cpu, cuda, cuda:N or mps") as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)
    assert repr(name) in str(caught.value)


def test_a_missing_cuda_device_is_refused_with_the_number_of_devices() -> None:
    with pytest.raises(UsageError, match="CUDA devices here; use auto or cpu"):
        choose_device("cuda:99")


def test_auto_chooses_cuda_if_available(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto").type == kind
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    "features, native",
    [
        ("fpu sse avx2", False),
        ("fpu avx512f avx512_bf16", True),
        ("fpu amx_bf16 amx_tile", True),
        ("", False),
    ],
)
def test_bfloat16_is_chosen_if_it_is_native(
    features: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "processor_features", lambda: frozenset(features.split()))
    assert multiplies_bf16(torch.device("cpu")) is native
    expected = torch.bfloat16 if native else torch.float32
    assert set_up("cpu", "auto", 1).dtype == expected
    assert set_up("cpu", "bf16", 1).dtype == torch.bfloat16
    assert set_up("cpu", "fp32", 1).dtype == torch.float32


def test_all_cores_are_used_without_a_processor_affinity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on macOS."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert set_up("cpu").threads == 3


def test_instruction_sets_are_detected_without_linux_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """``/proc/cpuinfo`` exists on Linux alone; PyTorch asks the processor itself."""

    def refused(*arguments: object, **options: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refused)
    monkeypatch.setattr("builtins.open", refused)
    if platform.machine() in ("x86_64", "AMD64"):
        assert "sse2" in processor_features()
    found = {"avx512_bf16": True, "amx_bf16": False, "cpu_name": "x", "num_sockets": 1}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert processor_features() == {"avx512_bf16"}


def test_mps_is_refused_without_metal_and_used_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no Metal GPU; use auto or cpu"):
        choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("mps") == torch.device("mps")
    assert choose_device("auto").type != "mps"
    assert set_up("mps", "auto", 1) == Machine(torch.device("mps"), torch.float32, 1)
    assert set_up("mps", "bf16", 1).is_emulated
    waited: list[bool] = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append(True))
    wait_for(torch.device("mps"))
    assert waited == [True]


def test_omp_num_threads_is_the_default_but_not_under_torchrun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("codeling.training.machine.usable_cores", lambda: 8)
    found: list[int] = []
    for wanted, num_processes in (("3", "1"), ("3", "2"), ("0", "1"), ("1,2", "1")):
        monkeypatch.setenv("OMP_NUM_THREADS", wanted)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", num_processes)
        monkeypatch.setattr("torch.set_num_threads", found.append)
        set_up("cpu")
    assert found == [3, 4, 8, 8]


def test_the_requested_number_of_threads_is_used() -> None:
    assert set_up("cpu", "fp32", 3) == Machine(torch.device("cpu"), torch.float32, 3)
    assert torch.get_num_threads() == 3
    everything = set_up("cpu", "fp32")
    assert everything.threads == torch.get_num_threads() >= 1


def test_the_matrix_rate_is_operations_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock advances by half a second per call: 2 * 2048**3 operations in that time.
    ticks = iter(range(1000))
    clock = SimpleNamespace(perf_counter=lambda: next(ticks) / 2)
    monkeypatch.setattr(machine, "time", clock)
    narrow = Machine(torch.device("cpu"), torch.bfloat16, 1)
    monkeypatch.setattr(torch, "randn", lambda *size, device: torch.zeros(1, 1))
    assert matrix_rate.__wrapped__(narrow) == 2 * 2048**3 / 0.5
