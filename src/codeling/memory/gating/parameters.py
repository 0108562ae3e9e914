"""The fitted parameters of the memory, and the file that keeps them.

``mixture.safetensors`` holds ``trust.SOURCE`` for each source with a context memory and
``gate.SOURCES.weight`` and ``.bias`` for each set of sources (:func:`gate_name`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from codeling.errors import InputError
from codeling.manifest import write_bytes
from codeling.memory.chain_kernels import TRUST_SHAPE
from codeling.memory.gating.gate import Gate, num_features
from codeling.memory.source import Floats

FILE_NAME = "mixture.safetensors"
DEFAULT = Path(__file__).with_name(FILE_NAME)
"""Parameters for models without their own: those of the demo's, for document and project."""


def gate_name(names: Sequence[str], *, with_model: bool = True) -> str:
    """The name of the gate for these sources: joined by ``+``.

    ``alone:`` before them marks a gate for the sources and a uniform model.
    """
    return ("" if with_model else "alone:") + "+".join(names)


@dataclass(frozen=True)
class Parameters:
    """Everything that was fitted."""

    trust: dict[str, Floats]
    """By source; see :func:`codeling.memory.chain_kernels.blend`."""
    gates: dict[str, Gate]
    """By :func:`gate_name`."""

    def save(self, path: Path) -> None:
        """Write to ``path``. :raises StorageError: when it cannot be written."""
        write_bytes(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The contents of the file."""
        tensors = {f"trust.{name}": trust for name, trust in self.trust.items()}
        for names, gate in self.gates.items():
            tensors[f"gate.{names}.weight"] = gate.weight
            tensors[f"gate.{names}.bias"] = gate.bias
        return save({name: np.ascontiguousarray(t) for name, t in tensors.items()})  # type: ignore[no-any-return]


def load_parameters(path: Path = DEFAULT) -> Parameters:
    """Read ``path``. :raises InputError: when it is missing or damaged."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as the memory's parameters ({error})") from error
    trust, gates = {}, {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "trust" and tensor.shape == TRUST_SHAPE:
            trust[rest] = tensor
        elif kind == "gate" and rest.endswith(".weight"):
            names = rest.removesuffix(".weight")
            gate = Gate(tensor, tensors.get(f"gate.{names}.bias", tensor))
            num_sources = names.count("+") + 1
            right = (num_sources + 1, num_features(num_sources)), (num_sources + 1,)
            if (gate.weight.shape, gate.bias.shape) != right:
                raise InputError(f"{path}: {name} has the wrong shape; fit the memory again")
            gates[names] = gate
    if "document" not in trust or "document" not in gates:
        raise InputError(f"{path}: not the parameters of a memory; fit the memory again")
    return Parameters(trust, gates)
