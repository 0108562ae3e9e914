"""The page about typing: the curve, kinds, latency, and what was accepted in colour."""

from typing import Any

from codeling.evaluation.keystrokes.typing_page import MAX_TYPED, typing_sections


def values(**changed: Any) -> dict[str, Any]:
    record = {
        "task_id": "r: a.py:1",
        "characters": 20,
        "saved": 5,
        "shown": 3,
        "wrong": 1,
        "begin": 10,
        "text": "x = <first> + second",
        "accepted_spans": [(14, 7)],
    }
    return {
        "columns": ["characters saved", "accepted"],
        "scores": [
            {
                "name": f"{name}, all, quiet",
                "value": value,
                "interval_95": (0.1, 0.4),
                "num_problems": 2,
                "without_found": None,
            }
            for name, value in (("characters saved", 0.3), ("accepted", 0.75))
        ],
        "curve": [
            {"threshold": 0.0, "saved": 0.5, "accepted": 0.2, "wrong": 0.22},
            {"threshold": 0.9, "saved": 0.0, "accepted": None, "wrong": 0.0},
        ],
        "kinds": {"all": [{"name": "names", "value": 0.25}], "model": []},
        "latency": {"all": {"num_requests": 1234, "p50_ms": 1.2, "p95_ms": 3.4, "reused": None}},
        "problems": [record, {"task_id": "other row"}, *[record] * MAX_TYPED],
        **changed,
    }


def test_every_section_shows_its_numbers() -> None:
    sections = {section.id: str(section.body) for section in typing_sections(values())}
    assert list(sections) == ["rows", "curve", "kinds", "latency", "files"]
    for name, texts in {
        "rows": ("all, quiet", "30.0 % (10.0–40.0)", ">75.0 %<"),
        "curve": ("<svg", "50.0 %", "22.0", "0.90"),
        "kinds": ("25.0 %", "names", "model"),
        "latency": ("1,234", "1.2", "3.4"),
        "files": ("x = <mark>&lt;first&gt;</mark> + second", "25 %"),
    }.items():
        for text in texts:
            assert text in sections[name], (name, text)
    assert sections["files"].count("<h3>") == MAX_TYPED


def test_a_result_without_a_curve_has_the_other_sections() -> None:
    assert "curve" not in [section.id for section in typing_sections(values(curve=[]))]
