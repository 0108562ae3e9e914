"""The published problem sets whose answers are run, each a :class:`FunctionalSuite`."""

from codeling.evaluation.data.lookup import PublishedFiles
from codeling.evaluation.sandbox import Limits
from codeling.evaluation.suites.functional import FunctionalSuite
from codeling.evaluation.suites.suite import ProgramRequirements

_SHORT = Limits(cpu_seconds=3, wall_seconds=10.0)
"""openai/human-eval allows 3 seconds."""
_MANY_INPUTS = Limits(
    cpu_seconds=60, wall_seconds=120.0, memory_bytes=4 << 30, output_bytes=256 << 20
)
"""EvalPlus allows a minute for its many inputs, and 4 GiB (``EVALPLUS_MAX_MEMORY_BYTES``). MBPP+'s
solution 255 needs the memory: one of its answers has 1.7 million tuples of 77 strings."""

PROBLEM_SUITES = (
    FunctionalSuite(
        name="infilling",
        version=3,
        summary="HumanEval with a line or a span missing",
        published=PublishedFiles(
            patterns=("*infilling*.jsonl*", "*infilling*.parquet"),
            example="HumanEval-SingleLineInfilling.jsonl.gz "
            "(or another HumanEval-…Infilling….jsonl.gz)",
        ),
        programs=ProgramRequirements(limits=_SHORT),
        max_new_tokens=128,
    ),
    FunctionalSuite(
        name="humaneval",
        summary="164 functions from their docstrings",
        published=PublishedFiles(
            patterns=("humaneval.*", "human-eval.*", "human_eval.*", "openai_humaneval*"),
            example="HumanEval.jsonl.gz or hf://openai/openai_humaneval",
        ),
        programs=ProgramRequirements(limits=_SHORT),
    ),
    FunctionalSuite(
        name="humaneval-plus",
        summary="HumanEval with about 80 times the tests",
        published=PublishedFiles(
            patterns=("humanevalplus*",),
            example="HumanEvalPlus.jsonl.gz or hf://evalplus/humanevalplus",
        ),
        programs=ProgramRequirements(("numpy",), _MANY_INPUTS),
    ),
    FunctionalSuite(
        name="mbpp",
        summary="974 short programs from a description",
        published=PublishedFiles(
            patterns=("mbpp*", "sanitized-mbpp*"),
            excluded=("mbppplus*",),
            example="mbpp_release_v1.jsonl (mxeval) or hf://google-research-datasets/mbpp",
        ),
        programs=ProgramRequirements(limits=_SHORT),
    ),
    FunctionalSuite(
        name="mbpp-plus",
        summary="378 programs of MBPP with about 35 times the tests",
        published=PublishedFiles(
            patterns=("mbppplus*",), example="MbppPlus.jsonl.gz or hf://evalplus/mbppplus"
        ),
        programs=ProgramRequirements(("numpy",), _MANY_INPUTS),
    ),
    FunctionalSuite(
        name="pandas-eval",
        summary="101 tasks for pandas",
        published=PublishedFiles(patterns=("pandaseval*",), example="PandasEval.jsonl.gz"),
        programs=ProgramRequirements(("pandas", "numpy"), _SHORT),
        max_new_tokens=128,
    ),
    FunctionalSuite(
        name="numpy-eval",
        summary="101 tasks for numpy",
        published=PublishedFiles(patterns=("numpyeval*",), example="NumpyEval.jsonl.gz"),
        programs=ProgramRequirements(("pandas", "numpy"), _SHORT),
        max_new_tokens=128,
    ),
)
