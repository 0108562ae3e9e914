"""Runs generated programs in isolation, and judges whether they are right.

Public: :class:`Limits`, :class:`Job`, :class:`Verdict`, :class:`Sandbox`. Each job has two
processes: one runs the program, the other its check. Only the check's process knows the test and
the nonce that makes a verdict valid, and only data crosses between the two. Both run under
bubblewrap, each in a PID namespace of its own.

This package must not know what a suite or a model is.
"""

from codeling.evaluation.sandbox.jobs import Job, Limits, Outcome, Verdict
from codeling.evaluation.sandbox.pool import Sandbox

__all__ = ["Job", "Limits", "Outcome", "Sandbox", "Verdict"]
