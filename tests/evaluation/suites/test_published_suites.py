"""The limits of the published problem sets are those that their own solutions need."""

from codeling.evaluation.suites.published_suites import PROBLEM_SUITES


def test_evalplus_programs_get_evalplus_limits() -> None:
    limits = {suite.name: suite.programs.limits for suite in PROBLEM_SUITES}
    for name in ("humaneval-plus", "mbpp-plus"):
        assert limits[name].memory_bytes == 4 << 30  # EVALPLUS_MAX_MEMORY_BYTES
        assert limits[name].cpu_seconds == 60
    assert limits["humaneval"].cpu_seconds == 3  # openai/human-eval
