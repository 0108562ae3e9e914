"""``[tokenizer]``, ``[model]`` and ``[training]``, and what ``model.size`` sets of them."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from codeling.recipe.section import Positive, Section, Share

PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "nano": {
        "model": {"n_layer": 4, "n_head": 3, "n_embd": 192, "context_length": 256},
        "tokenizer": {"vocab_size": 4096},
        "training": {
            "tokens_per_step": 2048,
            "adamw_lr": 6e-3,
            "muon_lr": 3e-3,
            "warm_start_steps": 120,
        },
    },
    "mini": {
        "model": {"n_layer": 8, "n_head": 8, "n_embd": 512, "context_length": 256},
        "tokenizer": {"vocab_size": 16384},
        "training": {
            "tokens_per_step": 4096,
            "adamw_lr": 4e-3,
            "muon_lr": 2e-3,
            "warm_start_steps": 120,
        },
    },
    "small": {
        "model": {"n_layer": 12, "n_head": 12, "n_embd": 768, "context_length": 1024},
        "tokenizer": {"vocab_size": 32768},
        "training": {
            "tokens_per_step": 524288,
            "adamw_lr": 2e-3,
            "muon_lr": 2e-3,
            "warm_start_steps": 0,
        },
    },
    "medium": {
        "model": {"n_layer": 24, "n_head": 16, "n_embd": 1024, "context_length": 1024},
        "tokenizer": {"vocab_size": 32768},
        "training": {
            "tokens_per_step": 524288,
            "adamw_lr": 1.5e-3,
            "muon_lr": 1.5e-3,
            "warm_start_steps": 0,
        },
    },
}
"""What ``model.size`` sets. ``small`` and ``medium`` are GPT-2's 124M and 350M shapes
(Radford et al. 2019, table 2); ``nano`` and ``mini`` are for processors. What their
values were chosen against is in ``docs/results.md``; the rates of the others are not tuned."""


DECIDE_NOTHING = (
    "activation_checkpointing", "checkpoint_minutes", "keep_every", "keep_last", "parallel",
    "sample_interval",
)  # fmt: skip
"""Keys of ``[training]`` that the weights do not depend on: a run goes on when they change."""

SMALLEST_VOCABULARY = 261
"""The 256 bytes and the five special tokens."""


Cut = Literal["gpt2", "python"]


class TokenizerRecipe(Section):
    """The byte-level BPE that is learned on the train split."""

    vocab_size: int | Literal["auto"] | None = None
    """Entries, the 256 bytes and the five special tokens among them; ``auto``: by the model's
    size and the training's length (:mod:`codeling.recipe.vocabulary`)."""
    cut: Cut = "gpt2"
    """How text is cut before merges: ``gpt2`` as GPT-2 does; ``python`` with whole indentations and
    line ends by themselves, for programs that cannot heal a prompt."""
    max_training_bytes: Positive = 200_000_000
    """Text that counts in learning the merges; of a larger corpus so many documents are drawn."""
    max_document_bytes: Positive = 20_000
    """Of one document only this much counts, so that no single large table of data decides."""
    seed: int = Field(0, ge=0)

    @field_validator("vocab_size", mode="plain")
    @classmethod
    def _a_number_or_auto(cls, value: object) -> object:
        if value is None or value == "auto":
            return value
        if not isinstance(value, int) or isinstance(value, bool) or value < SMALLEST_VOCABULARY:
            raise ValueError(
                f'give an integer greater than or equal to {SMALLEST_VOCABULARY}, or "auto"'
            )
        return value


class ModelRecipe(Section):
    """The shape of the GPT-2."""

    size: Literal["nano", "mini", "small", "medium"] = "nano"
    n_layer: Positive | None = None
    n_head: Positive | None = None
    n_embd: Positive | None = None
    context_length: int | None = Field(None, ge=16)
    """Positions; GPT-2's ``n_positions``."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ModelRecipe":
        shape = {**PRESETS[self.size]["model"], **self.model_dump(exclude_none=True)}
        if shape["n_embd"] % shape["n_head"]:
            raise ValueError(
                f"n_embd {shape['n_embd']} is not divisible by n_head {shape['n_head']}"
            )
        return self


class TrainingRecipe(Section):
    """How long, how fast, and how it survives."""

    minutes: float | None = Field(None, gt=0)
    """Length by the clock: the rate is measured first, the schedule planned from it. The
    default where neither ``tokens`` nor ``steps`` is given: 6."""
    tokens: Positive | None = None
    """Length in tokens."""
    steps: Positive | None = None
    """Length in optimizer updates."""
    tokens_per_step: Positive | None = None
    """Tokens of one optimizer update, a multiple of the model's ``context_length``."""
    micro_batch_size: Positive | None = None
    """Rows of one forward and backward pass; ``tokens_per_step`` is reached by gradient
    accumulation. Default: 32,768 tokens, halved on an accelerator until they fit."""
    adamw_lr: float | None = Field(None, gt=0)
    """Peak rate of AdamW (embeddings, norms, biases)."""
    muon_lr: float | None = Field(None, gt=0)
    """Peak rate of Muon (matrices of the blocks), scaled to match AdamW's update size."""
    warm_start_steps: int | None = Field(None, ge=0)
    """Before training the embeddings and the last block's MLP learn in so many updates what
    follows each token, from counts over the train split, and two blocks get heads that copy; 0:
    weights begin as drawn, as in ``small`` and ``medium``."""
    weight_decay: float = Field(0.1, ge=0)
    """On matrices alone; norms and biases never decay."""
    warmup_fraction: Share = 0.05
    """Of all steps; then the rate falls linearly to zero."""
    gradient_clip: float = Field(1.0, gt=0)
    """Largest global norm of the gradient."""
    z_loss: float = Field(0.0, ge=0)
    """Weight of the squared logarithm of the softmax's denominator in the loss (PaLM: 1e-4)."""
    key_words: tuple[str, ...] = ()
    """Words whose rows count more: each row's loss is scaled by ``key_word_alpha`` and the
    number of these words in it, divided by the mean of that over the step."""
    key_word_alpha: float = Field(1.0, gt=0)
    """What a row without any of the ``key_words`` is scaled by, before the division."""
    intra_document_masking: bool = False
    """No attention across ``<|endoftext|>``, and positions begin anew after it."""
    mixture_exponent: float = Field(0.5, ge=0, le=1)
    """A run that does not reach the end of the corpus reads of a repository of n tokens a share
    in proportion to n ** exponent: 1 as the corpus has it, 0 of all repositories alike."""
    fim_rate: float = Field(0.5, ge=0, le=1)
    """Share of documents turned into fill-in-the-middle (Bavarian et al. 2022)."""
    fim_spm_rate: float = Field(0.5, ge=0, le=1)
    """Of those, the share whose suffix comes before the prefix (SPM)."""
    validation_interval: float = Field(0.1, gt=0, le=1)
    """Share of the run between two measurements on the validation split."""
    validation_tokens: Positive | None = None
    """Tokens of one such measurement. Default: 32,768, in a short run a hundredth of its tokens."""
    sample_interval: float = Field(0.2, gt=0, le=1)
    """Share of the run between two sample completions."""
    checkpoint_minutes: float = Field(1.0, gt=0)
    """Time between two checkpoints."""
    keep_last: Positive = 2
    """Checkpoints kept."""
    keep_every: Positive | None = None
    """A checkpoint is made after every so many steps, and is never removed."""
    threads: Positive | None = None
    """Processor threads; default: all."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the forward and backward pass; ``auto`` takes bf16 where the hardware multiplies it
    natively. Weights are kept and updated in fp32 either way."""
    compile: Literal["auto", "on", "off"] = "auto"
    """``torch.compile`` of the blocks and the loss; ``auto``: on CUDA."""
    activation_checkpointing: bool = False
    """Keep each block's input alone and compute the rest again in the backward pass: less
    memory, a third more operations."""
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    """With several processes: all of the model in each (``ddp``), or a share (``fsdp``);
    ``auto`` shares from 1e9 parameters on."""
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> "TrainingRecipe":
        given = [k for k in ("minutes", "tokens", "steps") if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of minutes, tokens, steps; this gives {', '.join(given)}")
        return self
