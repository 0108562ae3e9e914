"""Model card metadata: read from any folder, and written with the scores of a run.

Source of the form: the Hugging Face Hub's model card metadata, whose ``model-index`` holds scores.
A card from elsewhere may contain anything; what is not text is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeling.export.scores import MeasuredScore
from codeling.model.folder import read_card_metadata

_MAX_LENGTH = 200
"""Characters of a text from a card that are kept."""
_MODEL_NAME = "GPT-2 trained with codeling"
"""The name in ``model-index``. That of the run folder may be the name of a private project."""


@dataclass(frozen=True)
class CardScore:
    """A score in a card."""

    data: str
    metric: str
    value: str


@dataclass(frozen=True)
class CardMetadata:
    """Base models, data sets and scores in a card. Names are those of the Hub."""

    base_models: list[str]
    datasets: list[str]
    scores: list[CardScore]


def read_card(folder: Path) -> CardMetadata:
    """The values in the card of ``folder``; empty lists without a card."""
    values = read_card_metadata(folder)
    return CardMetadata(
        _names(values.get("base_model")), _names(values.get("datasets")), _scores(values)
    )


def with_scores(card: str, scores: Sequence[MeasuredScore]) -> str:
    """``card`` with the scores of the weights in its metadata.

    A card that has scores in its metadata, or no readable metadata, is returned unchanged.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    own = [score for score in scores if score.of_weights]
    block = REGEX_YAML_BLOCK.search(card)
    if not own or block is None or "model-index" in block.group(2):
        return card
    try:
        ModelCard(card)
    except Exception:  # a card that was edited may contain anything
        return card
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=score.suite.replace(" ", "-"),
            dataset_name=score.data,
            dataset_config=score.data,  # the Hub groups scores by type and config
            metric_type=score.name.replace(" ", "_"),
            metric_name=score.name,
            metric_value=round(score.value, 4),
        )
        for score in own
    ]
    index = ModelCardData(model_name=_MODEL_NAME, eval_results=results).to_yaml()
    end = block.end(2)
    return f"{card[:end]}\n{index.rstrip()}{card[end:]}"


def _names(value: Any) -> list[str]:
    """One name or several, as YAML gives them."""
    names = value if isinstance(value, list) else [value]
    return [shown for each in names if isinstance(each, str) and (shown := _one_line(each))]


def _scores(values: dict[str, Any]) -> list[CardScore]:
    from huggingface_hub.repocard_data import model_index_to_eval_results

    try:
        _, results = model_index_to_eval_results(values["model-index"])
    except (KeyError, TypeError, AttributeError, ValueError):
        return []
    return [
        CardScore(
            _one_line(each.dataset_name),
            _one_line(each.metric_name or each.metric_type),
            _one_line(each.metric_value),
        )
        for each in results
    ]


def _one_line(value: Any) -> str:
    """``value`` as text without control characters."""
    text = " ".join(str(value)[: 10 * _MAX_LENGTH].split())
    return "".join(each for each in text if each.isprintable())[:_MAX_LENGTH]
