"""The metadata of model cards: what the card of a folder says, and the scores that ours state.

Source of the form: the Hugging Face Hub's model card metadata, whose ``model-index`` holds scores.
A card from elsewhere may contain anything; what cannot be understood is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeling.export.scores import MeasuredScore
from codeling.model.folder import card_metadata


@dataclass(frozen=True)
class StatedScore:
    """A score that a card states."""

    data: str
    metric: str
    value: str


@dataclass(frozen=True)
class StatedOrigin:
    """What a card states about how its model came about. Names are those of the Hub."""

    base_models: list[str]
    datasets: list[str]
    scores: list[StatedScore]


def stated_origin(folder: Path) -> StatedOrigin:
    """What the card in ``folder`` states; nothing without a card."""
    values = card_metadata(folder)
    return StatedOrigin(
        _names(values.get("base_model")), _names(values.get("datasets")), _scores(values)
    )


def with_scores(card: str, model_name: str, scores: Sequence[MeasuredScore]) -> str:
    """``card`` with ``scores`` in its metadata; the same if it has none or they cannot be read.

    Scores with the memory are left out: a model folder contains the weights alone. Scores that
    the card states already are kept.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    if not card.startswith("---"):
        return card
    try:
        found = ModelCard(card)
        assert isinstance(found.data, ModelCardData)
        found.data.model_name = found.data.model_name or model_name
        found.data.eval_results = (found.data.eval_results or []) + [
            EvalResult(
                task_type="text-generation",
                dataset_type=score.suite.replace(" ", "-"),
                dataset_name=score.data,
                dataset_config=score.data,  # the Hub joins scores on the same data
                metric_type=score.name.replace(" ", "_"),
                metric_name=score.name,
                metric_value=round(score.value, 4),
            )
            for score in scores
            if not score.with_memory
        ]
        return str(found)
    except Exception:  # a card that was edited may contain anything
        return card


def _names(value: Any) -> list[str]:
    """One name or several, as YAML gives them."""
    return [str(each) for each in (value if isinstance(value, list) else [value]) if each]


def _scores(values: dict[str, Any]) -> list[StatedScore]:
    from huggingface_hub.repocard_data import model_index_to_eval_results

    try:
        _, results = model_index_to_eval_results(values["model-index"])
    except Exception:
        return []
    return [
        StatedScore(
            str(each.dataset_name),
            str(each.metric_name or each.metric_type),
            str(each.metric_value),
        )
        for each in results
    ]
