"""Which parameter is updated how: Muon for the blocks' matrices, AdamW for all others.

Weight decay falls on matrices alone, by their shape and not by a name that might match nothing.
GPT-2's fused projection is three matrices to Muon, which works on singular values: each third
is handed over as a view of its own. Source: Jordan et al. 2024 (Muon); Liu et al. 2025
(``match_rms_adamw``: an update of AdamW's size whatever the shape).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from codeling.errors import TrainingError
from codeling.training.optimizer.muon import BatchedMuon

_FUSED = "attn.c_attn.weight"
_FUSED_PARTS = ("query", "key", "value")
_BUFFERS = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "muon": ("momentum_buffer",)}


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon updates the parameter called ``name``: a matrix of a block."""
    return parameter.ndim == 2 and name.startswith("h.")


class Optimizer:
    """Muon and AdamW over one network, stepped together."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        adamw_lr: float,
        muon_lr: float,
        weight_decay: float,
        muon_dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        """``parameters`` by GPT-2's names; ``adamw_lr`` and ``muon_lr`` are peak rates, of
        which :meth:`step` takes a fraction; ``muon_dtype`` is the type that Muon multiplies in.
        """
        self._parameters = dict(parameters)
        self._pieces: dict[str, tuple[nn.Parameter, nn.Parameter, slice]] = {}
        matrices: dict[str, nn.Parameter] = {}
        others: dict[str, nn.Parameter] = {}
        for name, parameter in self._parameters.items():
            if not is_hidden_matrix(name, parameter):
                others[name] = parameter
            elif name.endswith(_FUSED):
                matrices.update(self._split(name, parameter))
            else:
                matrices[name] = parameter
        decayed = {"params": [p for p in others.values() if p.ndim == 2]}
        plain = {"params": [p for p in others.values() if p.ndim < 2], "weight_decay": 0.0}
        groups: list[dict[str, Any]] = [decayed, plain]
        self._adamw = torch.optim.AdamW(
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
            momentum=0.95,
            nesterov=True,
            adjust_lr_fn="match_rms_adamw",
            products=muon_dtype,
        )
        self._peaks = ((self._adamw, adamw_lr), (self._muon, muon_lr))
        self._named = {"adamw": (self._adamw, others), "muon": (self._muon, matrices)}

    def _split(self, name: str, fused: nn.Parameter) -> Iterator[tuple[str, nn.Parameter]]:
        """The three matrices in a fused projection (C, 3 C), as parameters on its memory."""
        width = fused.size(1) // 3
        for number, part in enumerate(_FUSED_PARTS):
            columns = slice(number * width, (number + 1) * width)
            piece = nn.Parameter(fused.data[:, columns])
            self._pieces[f"{name}.{part}"] = (piece, fused, columns)
            yield f"{name}.{part}", piece

    def clip_gradients(self, max_norm: float) -> Tensor:
        """Scale all gradients down to a global norm of ``max_norm``; the norm before, a scalar
        on the device, so that nobody waits for it here.
        """
        return nn.utils.clip_grad_norm_(self._parameters.values(), max_norm)

    def step(self, fraction: float) -> None:
        """Update at ``fraction`` of the peak rates, then drop the gradients."""
        for piece, fused, columns in self._pieces.values():
            assert fused.grad is not None
            piece.grad = fused.grad[:, columns]
        for optimizer, peak in self._peaks:
            for group in optimizer.param_groups:
                group["lr"] = peak * fraction
            optimizer.step()
        self.zero_gradients()

    def zero_gradients(self) -> None:
        """Drop the gradients without an update."""
        for parameter in self._parameters.values():
            parameter.grad = None
        for piece, _, _ in self._pieces.values():
            piece.grad = None

    def blank_state(self) -> dict[str, Tensor]:
        """Zeros in the shapes that :meth:`state` has after a step."""
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
        """Take over what :meth:`state` gave.

        :raises TrainingError: it is the state of another network.
        """
        owners = {
            f"{kind}/{name}": (optimizer, parameter)
            for kind, (optimizer, named) in self._named.items()
            for name, parameter in named.items()
        }
        odd = owners.keys() ^ {key.rpartition("/")[0] for key in state} if state else None
        if odd:
            raise TrainingError(f"the optimizer's state does not fit the model: {min(odd)}")
        for key, value in state.items():
            owner, _, buffer = key.rpartition("/")
            optimizer, parameter = owners[owner]
            if value.ndim and value.shape != parameter.shape:
                raise TrainingError(f"the optimizer's state does not fit the model: {key}")
            device = parameter.device if value.ndim else "cpu"
            optimizer.state[parameter][buffer] = value.to(device)
