"""Model card metadata: read from any folder, and written with the scores of a run.

Source of the form: the Hugging Face Hub's model card metadata, whose ``model-index`` holds scores.
A card from elsewhere may contain anything; what is not text is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeling.export.scores import MeasuredScore
from codeling.model.folder import card_text, read_card_metadata

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
    if not own or block is None:
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
    changed = f"{card[:end]}\n{index.rstrip()}{card[end:]}"
    try:
        before, after = (
            ModelCard(each).data.to_dict()  # type: ignore[no-untyped-call]
            for each in (card, changed)
        )
    except Exception:  # a card that was edited may contain anything
        return card
    new_keys = after.keys() - before.keys()
    is_kept = all(after[key] == before[key] for key in before)
    return changed if is_kept and new_keys == {"model-index"} else card


def _names(value: Any) -> list[str]:
    """One name or several, as YAML gives them."""
    return [text for each in _list(value) or [value] if (text := card_text(each))]


def _scores(values: dict[str, Any]) -> list[CardScore]:
    from huggingface_hub.repocard_data import model_index_to_eval_results

    found = []
    models = [each for each in _list(values.get("model-index")) if isinstance(each, dict)]
    for model in models:
        for result in _list(model.get("results")):
            try:
                _, scores = model_index_to_eval_results([{"name": "", "results": [result]}])
            except (LookupError, TypeError, AttributeError, ValueError):
                continue
            for each in scores:
                metric = each.metric_name or each.metric_type
                texts = [
                    card_text(value) for value in (each.dataset_name, metric, each.metric_value)
                ]
                if all(texts):
                    found.append(CardScore(*texts))
    return found


def _list(value: Any) -> list[Any]:
    """``value`` if it is a list, else an empty list."""
    return value if isinstance(value, list) else []
