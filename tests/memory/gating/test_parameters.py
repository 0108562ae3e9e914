"""Parameters survive their file, and a damaged file is one clear line."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from codeling.errors import InputError
from codeling.memory.gating.parameters import load_parameters


def test_parameters_survive_saving(tmp_path: Path) -> None:
    default = load_parameters()
    default.save(tmp_path / "mixture.safetensors")
    again = load_parameters(tmp_path / "mixture.safetensors")
    assert again.trust.keys() == default.trust.keys()
    for name, trust in default.trust.items():
        assert (again.trust[name] == trust).all()
    assert again.gates.keys() == default.gates.keys()
    for name, gate in default.gates.items():
        assert (again.gates[name].weight == gate.weight).all()
        assert (again.gates[name].bias == gate.bias).all()


def test_the_defaults_serve_a_document_and_a_project() -> None:
    assert {"document", "document+project"} <= load_parameters().gates.keys()


@pytest.mark.parametrize("case", ["missing", "text", "other", "shape"])
def test_a_damaged_file_is_named(tmp_path: Path, case: str) -> None:
    path = tmp_path / "mixture.safetensors"
    if case == "text":
        path.write_text("no tensors")
    elif case == "other":
        save_file({"x": np.zeros(3)}, path)
    elif case == "shape":
        load_parameters().save(path)
        tensors = {"gate.document.weight": np.zeros((2, 5), np.float32)}
        save_file(tensors, path)
    with pytest.raises(InputError, match=r"mixture\.safetensors"):
        load_parameters(path)
