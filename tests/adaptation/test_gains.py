from pathlib import Path

import pytest

from codeling.adaptation import gains
from codeling.adaptation.gains import AdaptationScores, Exam, sample_share
from codeling.adaptation.project_texts import ProjectText
from codeling.recipe import TrainingRecipe

FILES = [
    ProjectText(f"{n}.py", f"import os\n\n\ndef f{n}(value):\n    return value + {n}\n", float(n))
    for n in range(6)
]


def test_the_interval_is_over_files(tmp_path: Path) -> None:
    exam = Exam(FILES, tmp_path, 0)
    assert len(exam.places) == 12  # the first line of a file has nothing above it
    none, all_ = [False] * 12, [True] * 12
    assert exam.difference_interval(none, all_, 0) == (1.0, 1.0)
    assert exam.difference_interval(all_, all_, 0) == (0.0, 0.0)
    better = [place.path == "0.py" for place in exam.places]
    low, high = exam.difference_interval(none, better, 0) or (None, None)
    assert low == 0.0
    assert high == pytest.approx(0.5, abs=0.2)
    assert Exam(FILES[:1], tmp_path, 0).difference_interval([True] * 2, [False] * 2, 0) is None


@pytest.mark.parametrize("length, share", [(0.05, 0.1), (1.0, 0.5), (5.0, 1.0), (None, 1.0)])
def test_a_short_training_is_measured_on_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: float | None, share: float
) -> None:
    assert sample_share(TrainingRecipe(minutes=length)) == pytest.approx(share)
    monkeypatch.setattr(gains, "NUM_LINES", 10)
    assert len(Exam(FILES, tmp_path, 0, share).places) == 10 * share


def test_scores_survive_a_round_trip() -> None:
    score = AdaptationScores([True, False, True], [True, True, True], 1.25, 1.5)
    assert AdaptationScores.from_json(score.to_json()) == score
    assert score.to_json()["next_line"] == pytest.approx(2 / 3)
    assert score.to_json()["next_line_with_memory"] == 1.0
