"""Right answers are judged right: programs of many kinds, each of which passes under plain exec.

What cannot cross the process boundary safely ends as ``unjudged``, never as ``failed``.
"""

# ruff: noqa: E501 (each program of the tables below is one line)

import subprocess
import sys
import textwrap

import pytest

from codeling.evaluation.sandbox import Job, Sandbox

BAD = """
class Bad(ValueError):
    def __init__(self, text, code=0):
        super().__init__(text, code)
        self.code = code
class Worse(Bad): pass
def f(x):
    if x < 0: raise Bad("negative", 7)
    if x == 0: raise Worse("zero")
    return x
"""
POINT = """
from dataclasses import dataclass, field
@dataclass
class Point:
    x: int = 0
    y: int = 0
    tags: list = field(default_factory=list)
    def moved(self, by): return Point(self.x + by, self.y + by)
@dataclass(frozen=True, order=True)
class Frozen:
    rank: int
def make(x, y): return Point(x, y)
"""
VEC = """
class Vec:
    def __init__(self, x, y): self.x, self.y = x, y
    def __add__(self, o): return Vec(self.x + o.x, self.y + o.y)
    def __iadd__(self, o): self.x += o.x; self.y += o.y; return self
    def __mul__(self, k): return Vec(self.x * k, self.y * k)
    __rmul__ = __mul__
    def __neg__(self): return Vec(-self.x, -self.y)
    def __abs__(self): return (self.x ** 2 + self.y ** 2) ** 0.5
    def __eq__(self, o):
        return isinstance(o, Vec) and (self.x, self.y) == (o.x, o.y)
    def __hash__(self): return hash((self.x, self.y))
    def __lt__(self, o): return abs(self) < abs(o)
    def __repr__(self): return f"Vec({self.x}, {self.y})"
    def __len__(self): return 2
    def __getitem__(self, i): return (self.x, self.y)[i]
    def __float__(self): return float(abs(self))
    def __bool__(self): return bool(self.x or self.y)
    def __format__(self, form): return format(self.x, form) + "," + format(self.y, form)
"""
PAIR = """
from collections import namedtuple
from typing import NamedTuple
Pair = namedtuple("Pair", "left right")
class Size(NamedTuple):
    width: int
    height: int = 1
    def area(self): return self.width * self.height
def pair(a, b): return Pair(a, b)
"""
CONTEXT = """
import contextlib
log = []
class Session:
    def __init__(self, name): self.name = name
    def __enter__(self): log.append("open"); return self
    def __exit__(self, *error): log.append("close"); return False
@contextlib.contextmanager
def doubled(x):
    log.append("in")
    try:
        yield 2 * x
    finally:
        log.append("out")
class ignore:
    def __init__(self, *kinds): self.kinds = kinds
    def __enter__(self): return None
    def __exit__(self, kind, error, trace): return kind is not None and issubclass(kind, self.kinds)
class Translated(Exception): pass
@contextlib.contextmanager
def translate():
    try:
        yield
    except KeyError as error:
        raise Translated(str(error)) from error
def lookup(k): return {}[k]
"""
ASYNC = """
import asyncio
async def f(x):
    await asyncio.sleep(0)
    return x + 1
async def slow(x):
    await asyncio.sleep(0.01)
    return x
async def fails():
    raise KeyError("gone")
async def count(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i
class Lock:
    async def __aenter__(self): return "held"
    async def __aexit__(self, *error): return False
queue = None
async def put(x):
    global queue
    queue = queue or asyncio.Queue()
    await queue.put(x)
async def get():
    global queue
    queue = queue or asyncio.Queue()
    return await queue.get()
"""
SHOW = """
import sys
def show(x): print("x =", x)
def warn(x): print(x, file=sys.stderr)
def ask(): return int(input("n? ")) + 1
def lines(): return [line.strip() for line in sys.stdin]
def apply(g, x):
    print("before")
    y = g(x)
    print("after")
    return y
"""
ENUM = """
import enum
class Color(enum.Enum):
    RED = 1
    GREEN = 2
class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2
def favourite(): return Color.RED
"""
STACK = """
class Stack(list):
    def push(self, x): self.append(x)
    def peek(self): return self[-1]
class Names(dict):
    def __missing__(self, key): return key.upper()
class Title(str):
    def shout(self): return self.upper() + "!"
"""

PROGRAMS = {
    "exceptions: own class": (BAD, "try: f(-1)\nexcept Bad: pass\nelse: assert False"),
    "exceptions: base of an own class": (BAD, "try: f(-1)\nexcept ValueError: pass\nelse: assert 0"),
    "exceptions: subclass of an own class": (BAD, "try: f(0)\nexcept Bad as e: assert type(e) is Worse"),
    "exceptions: args": (BAD, "try: f(-1)\nexcept Bad as e: assert e.args == ('negative', 7)"),
    "exceptions: attribute": (BAD, "try: f(-1)\nexcept Bad as e: assert e.code == 7\nelse: assert 0"),
    "exceptions: text": (
        "class E(Exception):\n  def __str__(self): return 'text ' + self.args[0]\ndef f(): raise E('a')",
        "try: f()\nexcept E as e: assert str(e) == 'text a', str(e)\nelse: assert 0",
    ),
    "exceptions: text of a builtin": (
        "def f(d): return d['k']",
        "try: f({})\nexcept KeyError as e: assert str(e) == \"'k'\" and e.args == ('k',)\nelse: assert 0",
    ),
    "exceptions: errno": (
        "def f(): open('/no/such')",
        "import errno\ntry: f()\nexcept OSError as e: assert e.errno == errno.ENOENT and e.filename",
    ),
    "exceptions: cause": (
        "def f():\n  try: {}['k']\n  except KeyError as e: raise ValueError('no') from e",
        "try: f()\nexcept ValueError as e: assert isinstance(e.__cause__, KeyError)\nelse: assert 0",
    ),
    "exceptions: of the standard library": (
        "import json\ndef f(): return json.loads('{')",
        "import json\ntry: f()\nexcept json.JSONDecodeError as e: assert e.lineno == 1\nelse: assert 0",
    ),
    "exceptions: constructed by the test": (
        BAD, "e = Bad('x', 3)\nassert isinstance(e, ValueError) and str(e.code) == '3'",
    ),
    "exceptions: subclass relation": (BAD, "assert issubclass(Worse, Bad) and issubclass(Bad, ValueError)"),
    "exceptions: assertRaises": (
        BAD,
        "import unittest\nwith unittest.TestCase().assertRaisesRegex(Bad, 'neg') as c: f(-1)\n"
        "assert c.exception.code == 7",
    ),
    "exceptions: of the test, by a callback": (
        "def f(g):\n  try: return g()\n  finally: pass",
        "class Mine(Exception): pass\ndef g(): raise Mine(3)\n"
        "try: f(g)\nexcept Mine as e: assert e.args == (3,)\nelse: assert 0",
    ),
    "coroutines: run": (ASYNC, "import asyncio\nassert asyncio.run(f(1)) == 2"),
    "coroutines: await": (
        ASYNC, "import asyncio\nasync def main():\n  assert await f(1) == 2\nasyncio.run(main())",
    ),
    "coroutines: gather": (
        ASYNC,
        "import asyncio\nasync def main(): return await asyncio.gather(*(slow(i) for i in range(3)))\n"
        "assert asyncio.run(main()) == [0, 1, 2]",
    ),
    "coroutines: that wait for each other": (
        ASYNC,
        "import asyncio\nasync def main(): return await asyncio.gather(get(), put(5))\n"
        "assert asyncio.run(main())[0] == 5",
    ),
    "coroutines: exception": (
        ASYNC, "import asyncio\ntry: asyncio.run(fails())\nexcept KeyError as e: assert e.args == ('gone',)",
    ),
    "coroutines: timeout": (
        ASYNC + "async def forever():\n  await asyncio.sleep(60)\n",
        "import asyncio\ntry: asyncio.run(asyncio.wait_for(forever(), 0.05))\n"
        "except asyncio.TimeoutError: pass\nelse: assert 0",
    ),
    "coroutines: asynchronous generator": (
        ASYNC, "import asyncio\nasync def main(): return [i async for i in count(3)]\n"
        "assert asyncio.run(main()) == [0, 1, 2]",
    ),
    "coroutines: asynchronous context": (
        ASYNC, "import asyncio\nasync def main():\n  async with Lock() as l: return l\n"
        "assert asyncio.run(main()) == 'held'",
    ),
    "coroutines: are distinguished": (
        ASYNC, "import inspect\nassert inspect.iscoroutinefunction(f)\nassert not inspect.iscoroutinefunction(Lock)",
    ),
    "context managers: class": (
        CONTEXT, "with Session('s') as s:\n  assert s.name == 's'\nassert log == ['open', 'close']",
    ),
    "context managers: generator": (CONTEXT, "with doubled(4) as x:\n  assert x == 8\nassert log == ['in', 'out']"),
    "context managers: closed by an exception": (
        CONTEXT,
        "try:\n  with Session('s'):\n    raise KeyError(1)\nexcept KeyError: pass\nassert log == ['open', 'close']",
    ),
    "context managers: suppress what the test raises": (
        CONTEXT, "with ignore(ValueError):\n  raise ValueError\nwith ignore(ZeroDivisionError):\n  1 / 0",
    ),
    "context managers: suppress nothing else": (
        CONTEXT, "try:\n  with ignore(ValueError):\n    raise KeyError\nexcept KeyError: pass\nelse: assert 0",
    ),
    "context managers: translate": (
        CONTEXT, "try:\n  with translate(): lookup('k')\nexcept Translated as e: assert str(e) == \"'k'\"\nelse: assert 0",
    ),
    "dataclasses: fields": (POINT, "p = make(1, 2)\nassert (p.x, p.y, p.tags) == (1, 2, [])"),
    "dataclasses: equality": (POINT, "assert make(1, 2) == Point(1, 2) != Point(2, 1)"),
    "dataclasses: in a list": (POINT, "assert [make(1, 2)] == [Point(1, 2)]"),
    "dataclasses: repr": (POINT, "assert repr(make(1, 2)) == 'Point(x=1, y=2, tags=[])'"),
    "dataclasses: asdict and replace": (
        POINT,
        "from dataclasses import asdict, astuple, is_dataclass, replace\nassert asdict(make(1, 2))['y'] == 2\n"
        "assert astuple(replace(make(1, 2), x=5)) == (5, 2, []) and is_dataclass(Point)",
    ),
    "dataclasses: order": (POINT, "assert sorted([Frozen(2), Frozen(1)])[0].rank == 1\nassert Frozen(1) < Frozen(2)"),
    "dataclasses: frozen": (
        POINT,
        "import dataclasses\ntry: Frozen(1).rank = 2\nexcept dataclasses.FrozenInstanceError: pass\nelse: assert 0",
    ),
    "dataclasses: hash": (POINT, "assert len({Frozen(1), Frozen(1), Frozen(2)}) == 2\nassert {Frozen(1): 3}[Frozen(1)] == 3"),
    "dataclasses: isinstance": (POINT, "assert isinstance(make(1, 2), Point) and type(make(1, 2)) is Point\nassert type(make(1, 2)).__name__ == 'Point'"),
    "named tuples: fields": (PAIR, "p = pair(1, 2)\nassert p.left == 1 and p[1] == 2 and p == (1, 2)"),
    "named tuples: methods": (PAIR, "assert Size(3, 4).area() == 12 and Size(3) == (3, 1)"),
    "named tuples: _asdict and _replace": (
        PAIR, "assert pair(1, 2)._asdict() == {'left': 1, 'right': 2}\nassert pair(1, 2)._replace(left=5).left == 5",
    ),
    "named tuples: repr and unpacking": (PAIR, "a, b = pair(1, 2)\nassert repr(pair(a, b)) == 'Pair(left=1, right=2)'"),
    "operators: addition": (VEC, "assert Vec(1, 2) + Vec(3, 4) == Vec(4, 6)"),
    "operators: with a number": (VEC, "assert Vec(1, 2) * 2 == 2 * Vec(1, 2) == Vec(2, 4)\nassert (Vec(1, 2) * 2).x == 2"),
    "operators: unary": (VEC, "assert -Vec(1, 2) == Vec(-1, -2) and abs(Vec(3, 4)) == 5.0 == float(Vec(3, 4))"),
    "operators: in place": (VEC, "v = w = Vec(1, 2)\nv += Vec(1, 1)\nassert v is w and v == Vec(2, 3)"),
    "operators: order": (VEC, "assert max([Vec(1, 1), Vec(3, 3)]) == Vec(3, 3)"),
    "operators: sum": (VEC, "assert sum([Vec(1, 2), Vec(3, 4)], Vec(0, 0)) == Vec(4, 6)"),
    "operators: items, truth, format": (
        VEC, "v = Vec(1, 2)\nassert len(v) == 2 and v[1] == 2 and list(v) == [1, 2] and not Vec(0, 0)\nassert f'{v:03d}' == '001,002'",
    ),
    "operators: not equal to data": (VEC, "assert Vec(1, 2) != (1, 2) and Vec(1, 2) in [Vec(1, 2)] and len({Vec(1, 2), Vec(1, 2)}) == 1"),
    "enumerations": (ENUM, "assert favourite() is Color.RED and Color(2).name == 'GREEN' and Color['RED'].value == 1\nassert [c.name for c in Color] == ['RED', 'GREEN']"),
    "enumerations of integers": (ENUM, "assert Level.HIGH == 2 and Level.HIGH > Level.LOW and Level(1).name == 'LOW'"),
    "subclasses: list": (STACK, "s = Stack([1])\ns.push(2)\nassert s == [1, 2] and s.peek() == 2 and len(s) == 2"),
    "subclasses: dict and str": (STACK, "n = Names(a=1)\nassert n['a'] == 1 and n['b'] == 'B'\nassert Title('ab').shout() == 'AB!' and Title('ab') == 'ab'"),
    "stdout: captured": (
        SHOW, "import contextlib, io\nout = io.StringIO()\nwith contextlib.redirect_stdout(out): show(3)\nassert out.getvalue() == 'x = 3\\n'",
    ),
    "stdout: replaced, in order with a callback": (
        SHOW,
        "import io, sys\nsys.stdout = out = io.StringIO()\napply(lambda x: print('test', x), 1)\n"
        "assert out.getvalue() == 'before\\ntest 1\\nafter\\n', out.getvalue()",
    ),
    "stdout: by mock, and print": (
        SHOW,
        "import io\nfrom unittest import mock\nwith mock.patch('sys.stdout', new_callable=io.StringIO) as out: show(1)\n"
        "assert out.getvalue() == 'x = 1\\n'\nwith mock.patch('builtins.print') as p: show(2)\np.assert_called_once_with('x =', 2)",
    ),
    "stderr: captured": (
        SHOW, "import contextlib, io\nerr = io.StringIO()\nwith contextlib.redirect_stderr(err): warn('w')\nassert err.getvalue() == 'w\\n'",
    ),
    "stdin: replaced": (
        SHOW, "import io, sys\nsys.stdin = io.StringIO('4\\na\\nb\\n')\nassert ask() == 5\nassert lines() == ['a', 'b']",
    ),
    "stdin: input patched": (
        SHOW, "from unittest import mock\nwith mock.patch('builtins.input', side_effect=['1', '2']): assert [ask(), ask()] == [2, 3]",
    ),
    "arguments: generator and decorated function": (
        "import functools\ndef total(xs): return sum(xs)\n"
        "def named(g):\n  @functools.wraps(g)\n  def h(*a): return g.__name__, g(*a)\n  return h",
        "assert total(x for x in [1, 2]) == 3 and total(iter([4])) == 4\n@named\ndef add(a, b): return a + b\nassert add(1, 2) == ('add', 3)",
    ),
    "values: paths and identifiers": (
        "import pathlib, uuid\ndef f(): return pathlib.Path('a') / 'b', uuid.UUID(int=5)",
        "import pathlib, uuid\nassert f() == (pathlib.Path('a/b'), uuid.UUID(int=5))",
    ),
    "copies": (POINT, "import copy\np = make(1, 2)\nq = copy.deepcopy(p)\nq.x = 9\nassert (p.x, q.x) == (1, 9) and q != p"),
    "generators: send": (
        "def g():\n  x = yield 1\n  yield x * 2\n  return 5",
        "i = g()\nassert next(i) == 1 and i.send(4) == 8\ntry: next(i)\nexcept StopIteration: pass",
    ),
    "signatures": ("def f(a, b=2): 'Adds.'", "import inspect\nassert list(inspect.signature(f).parameters) == ['a', 'b'] and f.__doc__ == 'Adds.'"),
}  # fmt: skip

UNJUDGED = {
    "an object of the test's as an argument": (
        "def f(p): return p.x", "class P: x = 3\nassert f(P()) == 3",
    ),
    "equality with plain data": (
        "class Money:\n  def __init__(self, n): self.n = n\n  def __eq__(self, o): return self.n == o",
        "assert Money(5) == 5",
    ),
    "order relative to plain data": (
        "class Money:\n  def __init__(self, n): self.n = n\n  def __lt__(self, o): return self.n < o",
        "assert Money(5) < 6",
    ),
    "plain data from arithmetic with plain data": (
        "class T:\n  def __sub__(self, n): return 20 - n", "assert T() - 5 == 15",
    ),
    "membership without items": (
        "class Interval:\n  def __contains__(self, n): return 1 <= n <= 5", "assert 3 in Interval()",
    ),
    "a class derived from the program's": (POINT, "class Q(Point): pass\nassert Q(1, 2).x == 1"),
    "a module patched": (
        "import time\ndef f(): return time.time()",
        "import time\ntime.time = lambda: 5\nassert f() == 5",
    ),
    "a function patched by mock": (
        "import random\ndef f(): return random.random()",
        "from unittest import mock\nwith mock.patch('random.random', return_value=7): assert f() == 7",
    ),
    "the class of an object": (POINT, "assert make(1, 2).__class__ is Point"),
    "a program's exception suppressed": (
        CONTEXT, "with ignore(KeyError): lookup('k')",
    ),
    "a time zone by name": (
        "import datetime, zoneinfo\ndef f(): return datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo('UTC'))",
        "assert f().year == 2020",
    ),
}  # fmt: skip


ALL: dict[str, tuple[str, str]] = PROGRAMS | UNJUDGED


@pytest.mark.parametrize("name", ALL)
def test_each_is_right_under_plain_exec(name: str) -> None:
    program, check = ALL[name]
    plain = f"{textwrap.dedent(program)}\n{check}\n"
    done = subprocess.run(
        [sys.executable, "-c", plain], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_right_answer_passes(name: str, sandbox: Sandbox) -> None:
    [verdict] = sandbox.judge([Job(name, *PROGRAMS[name])])
    assert verdict.passed, verdict


@pytest.mark.parametrize("name", UNJUDGED)
def test_an_unjudged_sample_is_not_counted_as_wrong(name: str, sandbox: Sandbox) -> None:
    [verdict] = sandbox.judge([Job(name, *UNJUDGED[name])])
    assert (verdict.outcome, verdict.passed) == ("unjudged", False), verdict
    assert verdict.detail
