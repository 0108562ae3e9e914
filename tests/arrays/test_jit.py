from pathlib import Path

from codeling.arrays.jit import compiler


def test_a_function_is_cached_under_a_name_of_all_its_sources(tmp_path: Path) -> None:
    own, called = tmp_path / "own.py", tmp_path / "called.py"
    own.write_text("x = 1\n")
    names = []
    for text in ("y = 1\n", "y = 2\n", "y = 1\n"):
        called.write_text(text)

        def double(number: int) -> int:
            return 2 * number

        compiled = compiler(str(own), str(called))(double)
        names.append(double.__qualname__)
        assert compiled(4) == 8
    assert names[0] == names[2] != names[1]
