"""The page of a result: names, kinds of failure, and text that stays text."""

from html.parser import HTMLParser
from typing import Any

from codeling.evaluation.samples_page import MAX_SHOWN, render

DETAILS = {
    "passed": "",
    "failed": "NameError: name 'foo' is not defined (program line 2)\nmore",
    "timeout": "not done after 10 seconds",
    "unjudged": "gc is used",
}


class Text(HTMLParser):
    """The text of a page, one entry per <summary>."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.summaries: list[str] = []
        self.is_inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "summary":
            self.is_inside = True
            self.summaries.append("")

    def handle_endtag(self, tag: str) -> None:
        self.is_inside = self.is_inside and tag != "summary"

    def handle_data(self, data: str) -> None:
        if self.is_inside:
            self.summaries[-1] = " ".join(f"{self.summaries[-1]} {data}".split())


def record(number: int, outcomes: list[str]) -> dict[str, Any]:
    return {
        "task_id": f"HumanEval/{number}",
        "entry_point": f"solve_{number}",
        "prompt": "def helper(x):\n    return x\n\n\ndef solve(x):\n",
        "suffix": None,
        "span": None,
        "found": None,
        "num_passed": outcomes.count("passed"),
        "samples": [
            {
                "completion": "    return '<b>&'\n",
                "finish_reason": "block",
                "exact_match": None,
                "outcome": outcome,
                "detail": DETAILS.get(outcome, "SyntaxError: invalid syntax"),
            }
            for outcome in outcomes
        ],
    }


def page(problems: list[dict[str, Any]], **others: Any) -> str:
    return render(
        {
            "suite": "humaneval",
            "model": {"name": "m"},
            "data": {"name": "HumanEval.jsonl"},
            "settings": {"n": 1, "temperature": 0, "seed": 0},
            "training_data": None,
            "machine": {},
            "num_problems": len(problems),
            "num_samples": sum(len(problem["samples"]) for problem in problems),
            "scores": [],
            "contamination": {"num_found": None},
            "problems": problems,
            **others,
        }
    )


def test_each_row_names_the_problem_its_function_and_the_failure() -> None:
    outcomes = ["passed", "failed", "timeout", "unjudged"]
    text = page([record(number, [outcome]) for number, outcome in enumerate(outcomes)])
    assert Text(text).summaries == [
        "HumanEval/0 solve_0 passed",
        "HumanEval/1 solve_1 NameError name 'foo' is not defined (program line 2)",
        "HumanEval/2 solve_2 timeout not done after 10 seconds",
        "HumanEval/3 solve_3 cannot be judged gc is used",
    ]


def test_failures_are_counted_by_kind() -> None:
    problems = [record(0, ["failed"] * 3 + ["passed"]), record(1, ["failed", "timeout"])]
    text = page(problems)
    rows = text.partition('id="outcomes"')[2].partition("</section>")[0]
    cells = [part.partition("<")[0] for part in rows.replace("<th", "<td").split("<td")]
    table = [cell.partition(">")[2] for cell in cells]
    start = table.index("NameError")
    assert table[start : start + 3] == ["NameError", "4", "2"]
    assert table[table.index("timeout") : table.index("timeout") + 3] == ["timeout", "1", "1"]
    assert Text(text).summaries[0].startswith("HumanEval/0 solve_0 1 of 4 right NameError: name")


def test_results_of_earlier_versions_have_the_functions_name_from_the_prompt() -> None:
    problem = record(0, ["passed"])
    del problem["entry_point"]
    assert Text(page([problem])).summaries == ["HumanEval/0 solve passed"]


def test_every_outcome_is_among_the_samples_shown() -> None:
    problem = record(0, ["passed"] * 30 + ["timeout", "failed"])
    text = page([problem])
    assert text.count("<mark>") == MAX_SHOWN
    assert "32 samples" in text
    assert all(f">{outcome}</span>" in text for outcome in ("passed", "timeout", "failed"))


def test_a_completion_is_escaped_and_unjudged_samples_are_counted() -> None:
    text = page([record(0, ["unjudged"])], num_unjudged=1)
    assert "<b>" not in text
    assert "1 of 1 sample cannot be judged" in text
