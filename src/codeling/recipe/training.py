"""The tables ``[tokenizer]``, ``[model]`` and ``[training]``, and the presets of ``model.size``."""

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
"""Settings of each ``model.size``. ``small`` and ``medium`` have GPT-2's 124M and 350M shapes
(Radford et al. 2019, table 2). ``nano`` and ``mini`` are for processors; ``docs/log.md`` lists the
alternatives that were tried. The learning rates of ``small`` and ``medium`` are not tuned."""


WEIGHT_INDEPENDENT_KEYS = (
    "activation_checkpointing", "checkpoint_minutes", "init", "keep_every", "keep_last", "parallel",
    "sample_interval", "track",
)  # fmt: skip
"""Keys of ``[training]`` that do not affect the weights: a run continues after they change.
``init`` is one of them: the digest of the initial model is an input of the training stage."""

MIN_VOCAB_SIZE = 261
"""The 256 bytes and the five special tokens."""


TrackerName = Literal["tensorboard", "wandb", "trackio"]
PreTokenizerName = Literal["gpt2", "python"]


class TokenizerRecipe(Section):
    """The byte-level BPE, trained on the train split."""

    vocab_size: int | Literal["auto"] | None = None
    """Number of entries, including the 256 bytes and the five special tokens; ``auto``: chosen by
    model size and run length (:mod:`codeling.recipe.vocabulary`)."""
    cut: PreTokenizerName = "gpt2"
    """Pre-tokenization: ``gpt2`` splits text as GPT-2 does; ``python`` makes each indentation and
    each line end its own piece, for programs without token healing."""
    max_training_bytes: Positive = 200_000_000
    """Maximum bytes of text to learn the merges from; a larger corpus is subsampled by document."""
    max_document_bytes: Positive = 20_000
    """Maximum bytes of one document, so that a single large table of data does not dominate."""
    seed: int = Field(0, ge=0)

    @field_validator("vocab_size", mode="plain")
    @classmethod
    def _number_or_auto(cls, value: object) -> object:
        if value is None or value == "auto":
            return value
        if not isinstance(value, int) or isinstance(value, bool) or value < MIN_VOCAB_SIZE:
            raise ValueError(
                f'give an integer greater than or equal to {MIN_VOCAB_SIZE}, or "auto"'
            )
        return value


class ModelRecipe(Section):
    """The shape of the GPT-2 model."""

    size: Literal["nano", "mini", "small", "medium"] = "nano"
    n_layer: Positive | None = None
    n_head: Positive | None = None
    n_embd: Positive | None = None
    context_length: int | None = Field(None, ge=16)
    """Maximum number of positions (``n_positions`` in GPT-2)."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ModelRecipe":
        shape = {**PRESETS[self.size]["model"], **self.model_dump(exclude_none=True)}
        if shape["n_embd"] % shape["n_head"]:
            raise ValueError(
                f"n_embd {shape['n_embd']} is not divisible by n_head {shape['n_head']}"
            )
        return self


class TrainingRecipe(Section):
    """Length, optimization, measurements and checkpoints of the training."""

    init: str | None = None
    """Trained model to start from: a run folder, a Hugging Face GPT-2 folder or ``hf://owner/name``.
    Its shape, tokenizer and weights are taken over (:mod:`codeling.recipe.initial_shape`)."""
    minutes: float | None = Field(None, gt=0)
    """Length of the run in minutes; the number of steps is planned from the measured rate. Default
    without ``tokens`` and ``steps``: 6."""
    tokens: Positive | None = None
    """Length of the run in tokens."""
    steps: Positive | None = None
    """Length of the run in optimizer updates."""
    tokens_per_step: Positive | None = None
    """Tokens per optimizer update, a multiple of ``context_length``."""
    micro_batch_size: Positive | None = None
    """Sequences per forward and backward pass; gradients accumulate up to ``tokens_per_step``.
    Default: 32,768 tokens; on an accelerator halved until they fit."""
    adamw_lr: float | None = Field(None, gt=0)
    """Peak learning rate of AdamW (embeddings, norms, biases)."""
    muon_lr: float | None = Field(None, gt=0)
    """Peak learning rate of Muon (matrices of the blocks), scaled to AdamW's update size."""
    warm_start_steps: int | None = Field(None, ge=0)
    """Updates of the warm start: before training, the embeddings and the last block's MLP learn the
    bigrams of the train split, and two blocks get induction heads. 0: no warm start (``small`` and
    ``medium``)."""
    weight_decay: float = Field(0.1, ge=0)
    """Weight decay of matrices; norms and biases never decay."""
    warmup_fraction: Share = 0.05
    """Share of the steps in which the learning rate rises; then it falls linearly to zero."""
    gradient_clip: float = Field(1.0, gt=0)
    """Maximum global norm of the gradient."""
    z_loss: float = Field(0.0, ge=0)
    """Weight of the squared log-partition function in the loss (PaLM: 1e-4)."""
    key_words: tuple[str, ...] = ()
    """Words that raise the weight of a sequence: its loss is scaled by ``key_word_alpha`` plus the
    number of these words in it, divided by the mean of this over the step."""
    key_word_alpha: float = Field(1.0, gt=0)
    """Weight of a sequence without ``key_words``, before the division."""
    intra_document_masking: bool = False
    """No attention across ``<|endoftext|>``; positions restart there."""
    mixture_exponent: float = Field(0.5, ge=0, le=1)
    """Sampling of repositories in a run shorter than the corpus: a repository of n tokens gets a
    share proportional to n ** exponent. 1: by size; 0: equal shares."""
    fim_rate: float = Field(0.5, ge=0, le=1)
    """Share of documents transformed for fill-in-the-middle (Bavarian et al. 2022)."""
    fim_spm_rate: float = Field(0.5, ge=0, le=1)
    """Share of the transformed documents with the suffix before the prefix (SPM)."""
    infilling_cuts: Literal["random", "syntax"] = "random"
    """Where documents are cut for it. ``random``: between any two characters. ``syntax``: half of
    the middles are statements, blocks, ends of lines or arguments."""
    validation_interval: float = Field(0.1, gt=0, le=1)
    """Share of the run between two validations."""
    validation_tokens: Positive | None = None
    """Tokens of one validation. Default: 1 % of the run's tokens, between 2,048 and 32,768."""
    sample_interval: float = Field(0.2, gt=0, le=1)
    """Share of the run between two sample completions."""
    checkpoint_minutes: float = Field(1.0, gt=0)
    """Minutes between two checkpoints."""
    keep_last: Positive = 2
    """Number of newest checkpoints to keep."""
    keep_every: Positive | None = None
    """Interval in steps of additional checkpoints, which are never removed."""
    threads: Positive | None = None
    """Number of processor threads; default: all cores."""
    track: tuple[TrackerName, ...] = ()
    """Trackers that get the measurements beside ``metrics.jsonl``: ``tensorboard``, ``wandb``,
    ``trackio`` (extra ``[track]``). One that fails or is offline does not stop the run."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Type of the forward and backward pass; ``auto``: bf16 if the hardware multiplies it natively.
    Weights and updates are always fp32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """``torch.compile`` of the blocks and the loss; ``auto``: on CUDA."""
    activation_checkpointing: bool = False
    """Keep only each block's input and recompute the rest in the backward pass: less memory, a
    third more operations."""
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    """With several processes: replicate the model (``ddp``) or shard it (``fsdp``); ``auto``: shard
    from 1e9 parameters."""
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> "TrainingRecipe":
        given = [k for k in ("minutes", "tokens", "steps") if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of minutes, tokens, steps; this gives {', '.join(given)}")
        if self.init == "":
            raise ValueError("init is empty; leave it out to train from scratch")
        return self
