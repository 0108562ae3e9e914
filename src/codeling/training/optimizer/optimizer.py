"""The optimizer: Muon updates the blocks' matrices, AdamW all other parameters.

Weight decay applies to matrices only, selected by shape: a filter by name might match nothing.
Muon works on singular values, so it updates the query, key and value parts of GPT-2's fused
projection as three matrices, each a view. Source: Jordan et al. 2024 (Muon); Liu et al. 2025
(``match_rms_adamw``: updates as large as AdamW's for any shape).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from codeling.errors import TrainingError
from codeling.training.optimizer.adamw import AdamW
from codeling.training.optimizer.muon import BatchedMuon

_FUSED = "attn.c_attn.weight"
_FUSED_PARTS = ("query", "key", "value")
_BUFFERS = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "muon": ("momentum_buffer",)}


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon updates the parameter called ``name``: a matrix of a block."""
    return parameter.ndim == 2 and name.startswith("h.")


class Optimizer:
    """Muon and AdamW over the parameters of one model."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        adamw_lr: float,
        muon_lr: float,
        weight_decay: float,
        muon_dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        """``parameters`` have GPT-2's names; ``adamw_lr`` and ``muon_lr`` are peak learning rates;
        ``muon_dtype`` is the type of Muon's matrix products.
        """
        self._parameters = dict(parameters)
        self._views: dict[str, tuple[nn.Parameter, nn.Parameter, slice]] = {}
        matrices: dict[str, nn.Parameter] = {}
        others: dict[str, nn.Parameter] = {}
        for name, parameter in self._parameters.items():
            if not is_hidden_matrix(name, parameter):
                others[name] = parameter
            elif name.endswith(_FUSED):
                matrices.update(self._split_fused(name, parameter))
            else:
                matrices[name] = parameter
        decayed = {"params": [p for p in others.values() if p.ndim == 2]}
        plain = {"params": [p for p in others.values() if p.ndim < 2], "weight_decay": 0.0}
        groups: list[dict[str, Any]] = [decayed, plain]
        self._adamw = AdamW(
            groups,
            lr=adamw_lr,
            betas=(0.9, 0.95),
            eps=1e-10,
            weight_decay=weight_decay,
        )
        self._muon = BatchedMuon(
            [{"params": list(matrices.values())}],
            lr=muon_lr,
            weight_decay=weight_decay,
            matmul_dtype=muon_dtype,
        )
        self._peak_rates = ((self._adamw, adamw_lr), (self._muon, muon_lr))
        self._named = {"adamw": (self._adamw, others), "muon": (self._muon, matrices)}

    def _split_fused(self, name: str, fused: nn.Parameter) -> Iterator[tuple[str, nn.Parameter]]:
        """Query, key and value (C, C) of a fused projection (C, 3 C), as views on its memory."""
        width = fused.size(1) // 3
        for number, part in enumerate(_FUSED_PARTS):
            columns = slice(number * width, (number + 1) * width)
            view = nn.Parameter(fused.data[:, columns])
            self._views[f"{name}.{part}"] = (view, fused, columns)
            yield f"{name}.{part}", view

    def clip_gradients(self, max_norm: float) -> Tensor:
        """Clip the global gradient norm to ``max_norm``; return the norm before clipping.

        It is a scalar on the device, so that the host does not wait.
        """
        return nn.utils.clip_grad_norm_(self._parameters.values(), max_norm)

    def step(self, fraction: float) -> None:
        """Update at ``fraction`` of the peak learning rates, then clear the gradients."""
        for view, fused, columns in self._views.values():
            assert fused.grad is not None
            view.grad = fused.grad[:, columns]
        for optimizer, peak in self._peak_rates:
            for group in optimizer.param_groups:
                group["lr"] = peak * fraction
            optimizer.step()
        self.zero_gradients()

    def zero_gradients(self) -> None:
        """Clear the gradients without an update."""
        for parameter in self._parameters.values():
            parameter.grad = None
        for view, _, _ in self._views.values():
            view.grad = None

    def blank_state(self) -> dict[str, Tensor]:
        """Zeros with the keys and shapes of :meth:`state` after a step."""
        return {
            f"{kind}/{name}/{buffer}": torch.tensor(0.0)
            if buffer == "step"
            else torch.zeros_like(parameter.detach(), memory_format=torch.contiguous_format)
            for kind, (_, named) in self._named.items()
            for name, parameter in named.items()
            for buffer in _BUFFERS[kind]
        }

    def state(self) -> dict[str, Tensor]:
        """Every buffer as ``KIND/PARAMETER/BUFFER``; empty before the first step."""
        return {
            f"{kind}/{name}/{buffer}": value
            for kind, (optimizer, named) in self._named.items()
            for name, parameter in named.items()
            for buffer, value in optimizer.state[parameter].items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Load what :meth:`state` returned.

        :raises TrainingError: ``state`` belongs to another model.
        """
        owners = {
            f"{kind}/{name}": (optimizer, parameter)
            for kind, (optimizer, named) in self._named.items()
            for name, parameter in named.items()
        }
        unmatched = owners.keys() ^ {key.rpartition("/")[0] for key in state} if state else None
        if unmatched:
            raise TrainingError(f"the optimizer's state does not fit the model: {min(unmatched)}")
        for key, value in state.items():
            owner, _, buffer = key.rpartition("/")
            optimizer, parameter = owners[owner]
            if value.ndim and value.shape != parameter.shape:
                raise TrainingError(f"the optimizer's state does not fit the model: {key}")
            device = parameter.device if value.ndim else "cpu"
            optimizer.state[parameter][buffer] = value.to(device)
