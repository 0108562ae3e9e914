"""Programs that want to be counted as right without being right: none is.

Covered: leaving early, swallowing or disguising exceptions, objects that are equal to everything,
everything that a program can do to its own interpreter, forged verdicts and answers on every open
file. Looking for the test is in ``test_secrets.py``.

Not covered, because it is a weak test and not a cheat: a program that gives the values the test
asks for without computing them (a table of answers it was trained on; see contamination), and a
test that accepts anything true. A test that itself evaluates text the program gives (``eval``) runs
it in the check's process, and could be cheated: of the suites none does. Where a test calls another
function of the program's than the one that is judged, that one is the program's too.
"""

import textwrap

import pytest

from codeling.evaluation.sandbox import Job, Limits, Sandbox

pytestmark = pytest.mark.usefixtures("sandbox")  # skips where none can start

CHECK = """
def check(candidate):
    assert candidate(3) == 9
    assert candidate(4) == 16
    assert [candidate(x) for x in (0, 1)] == [0, 1]

check(square)
"""


# Each defines square(x), or prevents it from being asked.
CHEATS = {
    "exit at the top": "import sys\nsys.exit(0)",
    "SystemExit in the function": "def square(x): raise SystemExit(0)",
    "os._exit at the top": "import os\nos._exit(0)",
    "os._exit in the function": "import os\ndef square(x): os._exit(0)",
    "exit from C": "import ctypes\ndef square(x): ctypes.CDLL(None).exit(0)",
    "KeyboardInterrupt": "def square(x): raise KeyboardInterrupt",
    "GeneratorExit": "def square(x): raise GeneratorExit",
    "StopIteration": "def square(x): raise StopIteration",
    "its own BaseException": """
        class Passed(BaseException): pass
        def square(x): raise Passed
    """,
    "exceptions swallowed": """
        import sys, threading
        sys.excepthook = threading.excepthook = lambda *a: None
        sys.unraisablehook = lambda *a: None
        def square(x):
            try:
                return undefined
            except BaseException:
                return None
    """,
    "AssertionError replaced": """
        import builtins
        class Never(BaseException): pass
        builtins.AssertionError = Never
        def square(x): return None
    """,
    "assert skipped by a trace function": """
        import sys
        def trace(frame, event, arg):
            frame.f_trace_opcodes = True
            return trace
        sys.settrace(trace); sys.setprofile(lambda *a: None)
        def square(x): return None
    """,
    "builtins patched": """
        import builtins
        for name in ("abs", "all", "any", "len", "isinstance", "sorted", "exec", "compile"):
            setattr(builtins, name, lambda *a, **k: True)
        def square(x): return None
    """,
    "equal to everything": """
        class Any:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            __hash__ = None
        def square(x): return Any()
    """,
    "an int that is equal to everything": """
        class Any(int):
            def __eq__(self, other): return True
            __hash__ = int.__hash__
        def square(x): return Any(-1)
    """,
    "a str that is equal to everything": """
        class Any(str):
            def __eq__(self, other): return True
            __hash__ = str.__hash__
        def square(x): return Any("9")
    """,
    "a metaclass that is equal to everything": """
        class Meta(type):
            def __eq__(self, other): return True
            __hash__ = type.__hash__
        class Any(metaclass=Meta): pass
        def square(x): return Any
    """,
    "pretends to be an int": """
        class Any:
            __class__ = int
            def __eq__(self, other): return True
            def __index__(self): return 5
        def square(x): return Any()
    """,
    "reflected operators": """
        class Any(int):
            def __radd__(self, other): return other
            __rsub__ = __req__ = __rmul__ = __radd__
            def __eq__(self, other): return True
        def square(x): return [Any()]
    """,
    "prints what is expected": """
        def square(x):
            print("passed"); print('{"outcome": "passed"}')
    """,
    "forges a result file": """
        import itertools, os
        for folder, name in itertools.product(
            ("/tmp", ".", "/", "/ours", "/packages"), ("result", "result.json", "verdict", "passed")
        ):
            try:
                open(os.path.join(folder, name), "w").write('{"outcome": "passed"}')
            except OSError:
                pass
        def square(x): return None
    """,
    "writes a verdict to every open file": """
        import json, os, struct
        text = json.dumps({"nonce": "", "outcome": "passed", "detail": "", "ended": 0}).encode()
        def square(x):
            for fd in range(3, 200):
                try:
                    os.write(fd, struct.pack("<I", len(text)) + text)
                except OSError:
                    pass
    """,
    "answers for the function on every open file": """
        import os
        from codeling.evaluation.sandbox.inside import rpc
        from codeling.evaluation.sandbox.inside.codec import encoder
        true = encoder.ValueEncoder(None).encode((True, None, None)).data
        def square(x):
            for fd in range(3, 200):
                try:
                    os.write(fd, rpc._HEADER.pack(len(true), rpc.RESPONSE) + true)
                except OSError:
                    pass
    """,
    "asks the check to do something": """
        import gc
        from codeling.evaluation.sandbox.inside.rpc import Link
        def square(x):
            [link] = [o for o in gc.get_objects() if type(o) is Link]
            for operation in ("run", "call", "name", "getattr"):
                try:
                    link.request(operation, "print", (), {})
                except BaseException:
                    pass
    """,
    "answers with an object of its choice": """
        from codeling.evaluation.sandbox.inside.codec import encoder
        encoder.REDUCERS[type(None)] = lambda value: ("os.system", ("true",))
        encoder._WRITERS.pop(type(None))
        def square(x): return None
    """,
    "atexit": """
        import atexit
        atexit.register(print, "passed")
        def square(x): return None
    """,
    "signal handlers": """
        import os, signal, time
        for number in range(1, 64):
            try:
                signal.signal(number, lambda *a: os._exit(0))
            except (OSError, ValueError):
                pass
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        def square(x):
            time.sleep(0.1)
    """,
    "a thread that outlives the test": """
        import threading, time
        def late():
            while True:
                globals()["square"] = lambda x: x * x
                time.sleep(0.001)
        def square(x):
            threading.Thread(target=late).start()
            return None
    """,
    "closes its end": """
        import os
        os.closerange(3, 200)
        def square(x): return None
    """,
    "hides the frames": """
        import sys
        def square(x):
            frame = sys._getframe()
            while frame:
                for name in list(frame.f_locals):
                    if name in ("outcome", "detail", "passed", "check"):
                        frame.f_locals[name] = "passed"
                frame = frame.f_back
    """,
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_does_not_pass(name: str, sandbox: Sandbox) -> None:
    [verdict] = sandbox.judge([Job(name, textwrap.dedent(CHEATS[name]), CHECK)])
    assert not verdict.passed
    assert verdict.outcome in ("failed", "crashed", "refused", "timeout"), verdict


def test_an_honest_program_passes(sandbox: Sandbox) -> None:
    [verdict] = sandbox.judge([Job("honest", "def square(x): return x * x", CHECK)])
    assert verdict.passed, verdict


TRICKS = {
    "membership": (
        "class C:\n  def __contains__(self, x): return True\n  def __iter__(self): return iter(())",
        "assert 9 in C()",
    ),
    "operators that lie": (
        "class C:\n"
        "  def __sub__(self, x): return self\n"
        "  def __abs__(self): return self\n"
        "  def __lt__(self, x): return True\n",
        "assert abs(C() - 9) < 1e-6",
    ),
    "its own math": (
        "import math\nmath.isclose = lambda *a, **k: True",
        "assert math.isclose(1.0, 2.0)",
    ),
    "its own math by name": (
        "from math import isclose\nisclose = lambda *a: True\nimport math\nmath.isclose = isclose",
        "assert isclose(1.0, 2.0)",
    ),
    "its own builtins": ("def all(x): return True\nabs = all", "assert all([False])"),
    "a module in /tmp": (
        "open('/tmp/colorsys.py', 'w').write('def rgb_to_hsv(*a): return 1')\nimport colorsys",
        "assert colorsys.rgb_to_hsv(0, 0, 0) == 1",
    ),
    "a bare except in the test": (
        "import os\ndef f(): os._exit(0)",
        "try:\n    f()\nexcept:\n    pass",
    ),
    "changes what it was given into something else": (
        "def f(x):\n  x.__class__ = type('L', (list,), {})",
        "x = [1]\nf(x)\nassert x == [2]",
    ),
    "a generator that lies": (
        "def f():\n  class E:\n    def __eq__(self, o): return True\n  yield E()",
        "assert list(f()) == [1]",
    ),
    "a key that is equal to everything": (
        "class K(str):\n"
        "  def __eq__(self, o): return True\n"
        "  def __hash__(self): return 0\n"
        "def f(): return {K('a'): 1}",
        "assert f() == {'b': 1}",
    ),
}


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_with_what_the_check_uses_does_not_pass(name: str, sandbox: Sandbox) -> None:
    [verdict] = sandbox.judge([Job(name, *TRICKS[name])])
    assert verdict.outcome in ("failed", "crashed"), verdict


PRETENDERS = {
    "equals": (
        "class F:\n  def equals(self, other): return True\n  def all(self): return True",
        "import pandas as pd\nassert F().equals(pd.DataFrame({'a': [1]}))",
    ),
    "a frame by pandas' own mark": (
        "class F:\n  _typ = 'dataframe'\n  shape = (1, 1)\n  def __getattr__(self, n): return F()",
        "import pandas as pd\npd.testing.assert_frame_equal(F(), pd.DataFrame({'a': [1]}))",
    ),
    "an array of objects that are equal to everything": (
        "import numpy as np\nclass E:\n  def __eq__(self, o): return True\n"
        "def f(): return np.array([E(), E()], dtype=object)",
        "import numpy as np\nassert np.array_equal(f(), np.array([1, 2]))",
    ),
    "an array of a type that is equal to everything": (
        "import numpy as np\nclass A(np.ndarray):\n  def __eq__(self, o): return np.True_\n"
        "def f(): return np.zeros(2).view(A)",
        "import numpy as np\nassert (f() == np.array([1, 2])).all()",
    ),
    "numpy patched": (
        "import numpy as np\nnp.array_equal = lambda *a: True\ndef f(): return None",
        "assert np.array_equal(f(), np.array([1, 2]))",
    ),
    "a frame of a type that is equal to everything": (
        "import pandas as pd\nclass F(pd.DataFrame):\n  def equals(self, other): return True\n"
        "pd.DataFrame.equals = F.equals\ndef f(): return F({'a': [2]})",
        "import pandas as pd\nassert f().equals(pd.DataFrame({'a': [1]}))",
    ),
}


def test_an_object_that_imitates_an_array_or_a_frame_does_not_pass(sandbox: Sandbox) -> None:
    honest = Job(
        "honest",
        "import pandas as pd\ndef f(): return pd.DataFrame({'a': [1]})",
        "import pandas as pd\nassert f().equals(pd.DataFrame({'a': [1]}))",
    )
    limits = Limits(cpu_seconds=10, wall_seconds=60)
    jobs = [Job(name, *PRETENDERS[name]) for name in PRETENDERS]
    with Sandbox(packages=("numpy", "pandas"), workers=1, limits=limits) as other:
        first, *verdicts = other.judge([honest, *jobs])
    assert first.passed, first
    assert [(v.identifier, v.detail) for v in verdicts if v.outcome != "failed"] == []
