from hypothesis import given
from hypothesis import strategies as st

from codeling.corpus.dedup import digest, first_copies


def test_white_space_alone_makes_no_difference() -> None:
    assert digest("def f(x):\n    return x\n") == digest("def f(x):\n\treturn  x")
    assert digest("def f(x): return x") != digest("def f(y): return y")


@given(st.lists(st.one_of(st.none(), st.sampled_from([b"a", b"b", b"c"]))))
def test_first_copies_against_its_definition(digests: list[bytes | None]) -> None:
    first, copies = first_copies(digests)
    for i, value in enumerate(digests):
        assert first[i] == (value is not None and value not in digests[:i])
        assert copies[i] == (0 if value is None else digests.count(value))
