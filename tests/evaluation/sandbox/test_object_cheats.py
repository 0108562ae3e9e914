"""Programs that use what crosses as an object to be counted as right: none is.

Covered: operators, conversions, exceptions, context managers, coroutines, standard streams,
callbacks and subclasses that lie, and requests to the check that no honest program sends.
"""

# ruff: noqa: E501 (each program of the tables below is one line)

import textwrap

import pytest

from codeling.evaluation.sandbox import Job, Limits, Sandbox

from .attempts import judged

pytestmark = pytest.mark.usefixtures("sandbox")  # skips where none can start

EQUAL = """
class Equal:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    def __gt__(self, other): return True
    __le__ = __ge__ = __lt__
    def __hash__(self): return hash(9)
    def __sub__(self, other): return 0.0
    __rsub__ = __sub__
    def __add__(self, other): return 9
    __radd__ = __xor__ = __add__
    def __abs__(self): return 0.0
    def __bool__(self): return False
    def __contains__(self, other): return True
class EqualText(str):
    def __eq__(self, other): return True
    __hash__ = str.__hash__
class EqualInt(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
    def __sub__(self, other): return 0
class EqualTuple(tuple):
    def __eq__(self, other): return True
    __hash__ = tuple.__hash__
    def __add__(self, other): return (9, 1)
def f(x): return Equal()
"""

OPERATORS = {
    "a class that is the candidate": ("f = Equal", "assert f() == 9"),
    "not unequal": ("f = Equal", "assert not (f() != 9)"),
    "in a list": ("f = Equal", "assert [f()] == [9]"),
    "by hash, in a set": ("", "assert f(3) in {9}"),
    "by hash, in a dict": ("", "assert {9: 1}[f(3)] == 1"),
    "a difference of nothing": ("", "assert abs(f(3) - 9) < 1e-6"),
    "a difference of nothing, by the candidate's class": ("f = Equal", "assert abs(f() - 9) < 1e-6"),
    "a reflected difference": ("", "assert abs(9 - f(3)) < 1e-6"),
    "an object as the difference": (
        "class D(Equal):\n  def __sub__(self, o): return self\ndef f(x): return D()",
        "assert abs(f(3) - 9) < 1e-6",
    ),
    "text of the difference": (
        "class D(Equal):\n  def __sub__(self, o): return self\n  def __str__(self): return '0'\n"
        "def f(x): return D()",
        "assert str(f(3) - 9) == '0'",
    ),
    "an attribute of the difference": (
        "class D:\n  days = 0\n  def __sub__(self, o): return self\ndef f(x): return D()",
        "import datetime\nassert (f(3) - datetime.date(2020, 1, 1)).days == 0",
    ),
    "a set without a difference": (
        "class D:\n  def __xor__(self, o): return self\n  def __len__(self): return 0\ndef f(x): return D()",
        "assert not (f(3) ^ {9})",
    ),
    "a sum": ("", "assert sum([f(3), f(4)]) == 9"),
    "a sum in place": ("", "x = 0\nx += f(3)\nassert x == 9"),
    "an order": ("f = Equal", "assert 8 < f() < 10"),
    "membership": ("", "assert 9 in f(3)"),
    "a conversion that changes": (
        "class C:\n  n = 0\n  def __float__(self):\n    self.n += 1\n    return float(self.n)\ndef f(x): return C()",
        "x = f(3)\nassert float(x) == 1.0 and float(x) == 2.0",
    ),
    "an int whose difference is nothing": ("def f(x): return EqualInt(1)", "assert abs(f(3) - 9) < 1e-6"),
    "a tuple that concatenates to the answer": (
        "def f(x): return EqualTuple((2,))", "assert f(3) + (1,) == (9, 1)",
    ),
    "a named tuple with a field that is equal": (
        "import collections\nP = collections.namedtuple('P', 'x')\ndef f(x): return P(Equal())",
        "assert f(3).x == 9",
    ),
    "a named tuple that is equal": (
        "import collections\nclass P(collections.namedtuple('P', 'x')):\n  def __eq__(self, o): return True\n"
        "def f(x): return P(2)",
        "assert f(3) == (9,)",
    ),
    "a dataclass with an attribute that is equal": (
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n  x: object\ndef f(x): return P(EqualInt(2))",
        "import dataclasses\nassert dataclasses.asdict(f(3)) == {'x': 9}",
    ),
    "a copy": ("", "import copy\nassert copy.deepcopy(f(3)) == 9"),
    "everything caught": (
        "", "try:\n  assert abs(f(3) - 9) < 1e-6\nexcept BaseException:\n  pass",
    ),
    "an integer that claims its type": ("def f(x): return EqualInt(2)", "assert type(f(3)) is int and f(3) == 9"),
}  # fmt: skip

EXCEPTIONS = {
    "a class of the expected name": (
        "class ValueError(Exception): pass\ndef f(x): raise ValueError('no')",
        "try: f(3)\nexcept ValueError: pass\nelse: assert 0",
    ),
    "a metaclass that claims every base": (
        "class M(type):\n  def __subclasscheck__(self, k): return True\n  def __instancecheck__(self, v): return True\n"
        "  def mro(self): return type.mro(self)\n  __bases__ = property(lambda self: (ValueError,))\n"
        "class E(Exception, metaclass=M): pass\ndef f(x): raise E()",
        "try: f(3)\nexcept KeyError: pass",
    ),
    "text that is equal to everything": (
        "class E(ValueError):\n  def __str__(self): return EqualText('x')\ndef f(x): raise E()",
        "try: f(3)\nexcept ValueError as e: assert str(e) == 'negative'\nelse: assert 0",
    ),
    "args that are equal to everything": (
        "def f(x): raise ValueError(EqualText('x'))",
        "try: f(3)\nexcept ValueError as e: assert e.args == ('negative',)\nelse: assert 0",
    ),
    "args that are objects": (
        "def f(x): raise ValueError(Equal())",
        "try: f(3)\nexcept ValueError as e: assert e.args == (9,)\nelse: assert 0",
    ),
    "an attribute that is equal to everything": (
        "class E(ValueError):\n  code = Equal()\ndef f(x): raise E()",
        "try: f(3)\nexcept ValueError as e: assert e.code == 7\nelse: assert 0",
    ),
    "skips the test": (
        "import unittest\ndef f(x): raise unittest.SkipTest('no')",
        "import unittest\nclass T(unittest.TestCase):\n  def test(self): self.assertEqual(f(3), 9)\n"
        "r = unittest.TestResult()\nT('test').run(r)\nassert r.wasSuccessful()",
    ),
    "swallows a callback's assertion": (
        "def f(g):\n  try: g(1)\n  except BaseException: pass",
        "def g(x): assert x == 9\nf(g)",
    ),
    "reads a callback's assertion": (
        "def f(g):\n  try: g(1)\n  except AssertionError as e: return str(e), e.args",
        "def g(x): assert x == 9, 'nine'\nassert f(g) != ('', ())",
    ),
}  # fmt: skip

CONTEXTS = {
    "suppresses a failed assertion": (
        "class C:\n  def __enter__(self): return 1\n  def __exit__(self, *e): return True\nf = C",
        "with f() as x: assert x == 9",
    ),
    "suppresses by a generator": (
        "import contextlib\n@contextlib.contextmanager\ndef f():\n  try: yield 1\n  except BaseException: pass",
        "with f() as x: assert x == 9",
    ),
    "suppresses what a wrong answer raises": (
        "class C:\n  def __enter__(self): return None\n  def __exit__(self, *e): return True\nf = C",
        "with f() as x: assert x + 1 == 10",
    ),
    "suppresses what the program raises": (
        "class C:\n  def __enter__(self): return self\n  def __exit__(self, *e): return True\nf = C",
        "with f() as x: assert x.total() == 9",
    ),
    "suppresses an exception that reports a wrong answer": (
        "class C:\n  def __enter__(self): return 1\n  def __exit__(self, *e): return True\nf = C",
        "with f() as x:\n  if x != 9: raise ValueError('wrong')",
    ),
    "replaces a failed assertion": (
        "class C:\n  def __enter__(self): return 1\n  def __exit__(self, *e): raise KeyError\nf = C",
        "try:\n  with f() as x: assert x == 9\nexcept KeyError: pass",
    ),
    "replaces what a wrong answer raises": (
        "class C:\n  def __enter__(self): return None\n  def __exit__(self, *e): raise KeyError\nf = C",
        "try:\n  with f() as x: assert x + 1 == 10\nexcept KeyError: pass",
    ),
    "suppresses asynchronously": (
        "class C:\n  async def __aenter__(self): return 1\n  async def __aexit__(self, *e): return True\nf = C",
        "import asyncio\nasync def main():\n  async with f() as x: assert x == 9\nasyncio.run(main())",
    ),
    "returns an object as its answer": (
        "class C:\n  def __enter__(self): return 1\n  def __exit__(self, *e): return Equal()\nf = C",
        "with f() as x: assert x == 9",
    ),
}  # fmt: skip

COROUTINES = {
    "a result that is equal to everything": (
        "async def f(x): return Equal()", "import asyncio\nassert asyncio.run(f(3)) == 9",
    ),
    "never ends": (
        "import asyncio\nasync def f(x):\n  while True: await asyncio.sleep(0)",
        "import asyncio\nassert asyncio.run(f(3)) == 9",
    ),
    "is cancelled": (
        "import asyncio\nasync def f(x): raise asyncio.CancelledError",
        "import asyncio\nassert asyncio.run(f(3)) == 9",
    ),
    "an event loop of its own": (
        "import asyncio\nasyncio.run = lambda c: 9\nasyncio.new_event_loop = lambda: Equal()\nasync def f(x): return 1",
        "import asyncio\nassert asyncio.run(f(3)) == 9",
    ),
}  # fmt: skip

STREAMS = {
    "prints text that is equal to everything": (
        "def f(x): print(EqualText('x'))",
        "import contextlib, io\nout = io.StringIO()\nwith contextlib.redirect_stdout(out): f(3)\n"
        "assert out.getvalue() == '9\\n'",
    ),
    "prints to the check's mock": (
        "def f(x): print(Equal())",
        "from unittest import mock\nwith mock.patch('builtins.print') as p: f(3)\np.assert_called_once_with(9)",
    ),
    "closes its streams": (
        "import sys\ndef f(x):\n  sys.stdout.close(); sys.stdin.close()",
        "import contextlib, io\nout = io.StringIO()\nwith contextlib.redirect_stdout(out): f(3)\n"
        "assert out.getvalue() == '9\\n'",
    ),
}  # fmt: skip

REQUESTS = """
import gc
from codeling.evaluation.sandbox.inside.rpc import Link
def f(g):
    [link] = [o for o in gc.get_objects() if type(o) is Link]
    got = []
    for request in (
        ("describe", g, "__globals__"), ("describe", g, "__code__"), ("call", g, ()), ("next", g),
        ("print", ("x",), {}), ("input", (), {}), ("getattr", g, "__globals__"),
    ):
        try:
            got.append(link.request(*request))
        except Exception:
            pass
    return got
"""

ALL: dict[str, tuple[str, str]] = {
    f"{kind}: {name}": pair
    for kind, pairs in (
        ("operators", OPERATORS),
        ("exceptions", EXCEPTIONS),
        ("context managers", CONTEXTS),
        ("coroutines", COROUTINES),
        ("streams", STREAMS),
    )
    for name, pair in pairs.items()
}


@pytest.mark.parametrize("name", ALL)
def test_a_cheat_with_objects_does_not_pass(name: str, sandbox: Sandbox) -> None:
    program, check = ALL[name]
    verdict = judged(sandbox, EQUAL + textwrap.dedent(program), check, name)
    assert verdict.outcome in ("failed", "unjudged", "crashed", "refused", "timeout"), verdict


def test_the_check_answers_nothing_but_what_it_offers(sandbox: Sandbox) -> None:
    check = "SECRET = 'word'\ndef g(x): return SECRET\nassert f(g) == []"
    verdict = judged(sandbox, REQUESTS, check)
    assert verdict.passed or verdict.outcome == "refused", verdict


def test_a_gigabyte_of_captured_output_is_not_kept(sandbox: Sandbox) -> None:
    check = "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()): f()\n"
    program = "def f():\n    for _ in range(1_000): print('x' * 10**6)"
    verdict = judged(sandbox, program, check)
    assert verdict.outcome in ("refused", "out_of_memory", "timeout"), verdict


def test_a_class_that_imitates_numpy_does_not_pass() -> None:
    program = EQUAL + "import numpy as np\n"
    checks = ("assert np.allclose(f(3), 9)", "assert np.abs(np.array([9]) - f(3)).max() < 1e-6")
    limits = Limits(cpu_seconds=10, wall_seconds=60)
    with Sandbox(packages=("numpy",), workers=1, limits=limits) as other:
        verdicts = list(other.judge(Job(check, program, check) for check in checks))
    assert [v.outcome for v in verdicts if v.outcome not in ("failed", "unjudged")] == []
