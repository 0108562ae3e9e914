import sys

import pytest
import torch

from codeling.errors import UsageError
from codeling.model.device import find_device


@pytest.mark.parametrize(
    "name",
    ["", "auto", "CPU", "cpu:0", "cuda:-1", "cuda:x", "cuda:", " cuda", "gpu", "meta", "xla",
     "tpu:0", "cuda:\n0", None, 0],
)  # fmt: skip
def test_another_name_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UsageError, match="write auto, cpu, cuda, cuda:N or mps") as caught:
        find_device(name)
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("cuda:2", f"cuda:{10**30}"):
        with pytest.raises(UsageError, match="2 CUDA devices here; use auto or cpu"):
            find_device(name)
    assert find_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no Metal GPU"):
        find_device("mps")


def test_a_wrong_name_needs_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError):
        find_device("tpu")
