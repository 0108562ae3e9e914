"""Runs what a model wrote where it can harm nothing, and says whether it is right.

Public: :class:`Limits`, :class:`Job`, :class:`Verdict`, :class:`Sandbox`. It must not know what
a suite or a model is. Each job has two processes: in one the program, in the other its check,
which alone knows the test and the nonce that makes a verdict count; between them only data
crosses. Both are in a bubblewrap sandbox, each in a namespace of its own.
"""

from codeling.evaluation.sandbox.jobs import Job, Limits, Outcome, Verdict
from codeling.evaluation.sandbox.pool import Sandbox

__all__ = ["Job", "Limits", "Outcome", "Sandbox", "Verdict"]
