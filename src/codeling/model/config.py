"""Shape of a GPT-2: its sizes, its cost, and its Hugging Face configuration.

Parameters and floating-point operations are plain arithmetic, without torch. Source of the shape:
Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; of the FLOP count:
Chowdhery et al. 2022 (PaLM), appendix B.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codeling.errors import ModelError


@dataclass(frozen=True)
class GPT2Config:
    """Sizes of one model. ``context_length`` is GPT-2's ``n_positions``."""

    vocab_size: int
    context_length: int
    n_layer: int
    n_head: int
    n_embd: int
    layer_norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        """Check the sizes. :raises ModelError: one is invalid, or they do not match."""
        for name in ("vocab_size", "context_length", "n_layer", "n_head", "n_embd"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
                raise ModelError(f"model config: {name} must be a positive integer, not {value!r}")
        epsilon = self.layer_norm_epsilon
        if not isinstance(epsilon, int | float) or not 1e-30 <= epsilon <= 1:
            raise ModelError(
                f"model config: layer_norm_epsilon must be from 1e-30 to 1, not {epsilon!r}"
            )
        if self.n_embd % self.n_head:
            raise ModelError(
                f"model config: n_embd {self.n_embd} is not divisible by n_head {self.n_head}"
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_head

    @property
    def num_block_parameters(self) -> int:
        """Parameters of the blocks and the final norm, without the two embeddings."""
        width = self.n_embd
        matrices = 12 * width * width
        biases = (3 + 1 + 4 + 1) * width
        norms = 4 * width
        return self.n_layer * (matrices + biases + norms) + 2 * width

    @property
    def num_parameters(self) -> int:
        """All parameters. The head is tied to ``wte`` and counted once."""
        return self.num_block_parameters + (self.vocab_size + self.context_length) * self.n_embd

    @property
    def train_flops_per_token(self) -> int:
        """Floating-point operations of one forward and backward pass, per token of a full context.

        Six per weight of a matrix, including the head but not the embedding look-ups, and
        ``6 * n_layer * context_length * n_embd`` for attention: half of PaLM's figure, because a
        causal kernel skips the masked half.
        """
        matrices = self.n_layer * 12 * self.n_embd**2 + self.vocab_size * self.n_embd
        return 6 * matrices + 6 * self.n_layer * self.context_length * self.n_embd

    @property
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to shape of every tensor, in GPT-2's names and layouts (matrices are (in, out))."""
        width = self.n_embd
        shapes: dict[str, tuple[int, ...]] = {
            "wte.weight": (self.vocab_size, width),
            "wpe.weight": (self.context_length, width),
        }
        matrices = {
            "attn.c_attn": (width, 3 * width),
            "attn.c_proj": (width, width),
            "mlp.c_fc": (width, 4 * width),
            "mlp.c_proj": (4 * width, width),
        }
        norms = [f"h.{layer}.{norm}" for layer in range(self.n_layer) for norm in ("ln_1", "ln_2")]
        for norm in [*norms, "ln_f"]:
            shapes[f"{norm}.weight"] = shapes[f"{norm}.bias"] = (width,)
        for layer in range(self.n_layer):
            for name, shape in matrices.items():
                shapes[f"h.{layer}.{name}.weight"] = shape
                shapes[f"h.{layer}.{name}.bias"] = shape[1:]
        return shapes

    def to_hugging_face(self) -> dict[str, Any]:
        """``config.json`` of a ``GPT2LMHeadModel`` with these sizes."""
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": self.vocab_size,
            "n_positions": self.context_length,
            "n_ctx": self.context_length,
            "n_embd": self.n_embd,
            "n_layer": self.n_layer,
            "n_head": self.n_head,
            "n_inner": None,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "initializer_range": 0.02,
            "attn_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "resid_pdrop": 0.0,
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "reorder_and_upcast_attn": False,
            "tie_word_embeddings": True,
            "use_cache": True,
        }

    @classmethod
    def from_hugging_face(cls, values: Mapping[str, Any]) -> "GPT2Config":
        """Read the sizes from a ``config.json``.

        :raises ModelError: the architecture is not GPT-2, or a variant that computes something
            different.
        """
        kind = values.get("model_type")
        if kind != "gpt2":
            raise ModelError(f"config.json: model_type is {kind!r}; only 'gpt2' is supported")
        missing = [
            name
            for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
            if name not in values
        ]
        if missing:
            raise ModelError(f"config.json: missing {', '.join(missing)}")
        config = cls(
            vocab_size=values["vocab_size"],
            context_length=values["n_positions"],
            n_layer=values["n_layer"],
            n_head=values["n_head"],
            n_embd=values["n_embd"],
            layer_norm_epsilon=values.get("layer_norm_epsilon", 1e-5),
        )
        unsupported = {
            "activation_function": values.get("activation_function", "gelu_new")
            in ("gelu_new", "gelu_pytorch_tanh"),
            "n_inner": values.get("n_inner") in (None, 4 * config.n_embd),
            "scale_attn_weights": values.get("scale_attn_weights", True) is True,
            "scale_attn_by_inverse_layer_idx": not values.get("scale_attn_by_inverse_layer_idx"),
            "tie_word_embeddings": values.get("tie_word_embeddings", True) is True,
            "add_cross_attention": not values.get("add_cross_attention"),
        }
        for name, supported in unsupported.items():
            if not supported:
                raise ModelError(f"config.json: {name} {values[name]!r} is not supported")
        return config
