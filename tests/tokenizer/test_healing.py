import statistics
import time

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codeling.tokenizer.healing import Vocabulary
from codeling.tokenizer.tokenizer import Tokenizer

TOKEN = st.binary(max_size=4) | st.text("ab \xff\n", max_size=5).map(lambda s: s.encode("latin-1"))
TOKENS = st.lists(TOKEN, min_size=1, max_size=30)
with_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(TOKENS, TOKEN)
@example([b"\xff", b"\xff\xff", b"\xff\xff\xff", b"a"], b"\xff\xff")
@example([b"a", b"a", b"ab"], b"a")
@example([b"", b"a"], b"")
def test_lookups_equal_a_scan_of_all_entries(tokens: list[bytes], prefix: bytes) -> None:
    vocabulary = Vocabulary(tokens)
    begin = [i for i, token in enumerate(tokens) if token and token.startswith(prefix)]
    assert sorted(vocabulary.beginning_with(prefix).tolist()) == begin
    longer = any(token.startswith(prefix) and len(token) > len(prefix) for token in tokens)
    assert vocabulary.extends(prefix) == longer
    may = {i for i, token in enumerate(tokens) if token and prefix.startswith(token)}
    allowed = vocabulary.allowed(prefix).tolist()
    assert set(allowed) == may | set(begin)
    assert len(allowed) == len(set(allowed))


@given(TOKENS, st.lists(st.integers(0, 29), max_size=6))
def test_heal_removes_the_longest_end_that_an_entry_extends(
    tokens: list[bytes], numbers: list[int]
) -> None:
    ids = [number % len(tokens) for number in numbers]
    healed = Vocabulary(tokens).heal(ids)
    best = 0
    for count in range(1, len(ids) + 1):
        end = [tokens[i] for i in ids[len(ids) - count :]]
        joined = b"".join(end)
        if all(end) and any(t.startswith(joined) and len(t) > len(joined) for t in tokens):
            best = count
    assert healed.ids == ids[: len(ids) - best]
    assert healed.pending == b"".join(tokens[i] for i in ids[len(ids) - best :])


@with_fixture
@given(text=st.text(max_size=30), data=st.data())
def test_any_allowed_choice_restores_the_prompt(
    tokenizer: Tokenizer, text: str, data: st.DataObject
) -> None:
    vocabulary = Vocabulary(tokenizer.token_bytes)
    healed = vocabulary.heal(tokenizer.encode(text))
    ids, pending = list(healed.ids), healed.pending
    assert tokenizer.decode_bytes(ids) + pending == text.encode()
    while pending:
        allowed = vocabulary.allowed(pending).tolist()
        chosen = data.draw(st.sampled_from(allowed))
        pending = vocabulary.after(pending, chosen)
        ids.append(chosen)
    assert tokenizer.decode_bytes(ids).startswith(text.encode())


def test_a_partial_word_is_completed(tokenizer: Tokenizer) -> None:
    vocabulary = Vocabulary(tokenizer.token_bytes)
    whole = tokenizer.encode("    return")
    assert tokenizer.token_bytes[whole[-1]] == b" return"
    healed = vocabulary.heal(tokenizer.encode("    retu"))
    assert healed.pending == b" retu"
    assert whole[-1] in vocabulary.allowed(b" retu")
    special = vocabulary.heal([tokenizer.fim_prefix, tokenizer.fim_middle])
    assert special.ids == [tokenizer.fim_prefix, tokenizer.fim_middle]
    assert special.pending == b""


def test_healing_takes_less_than_a_millisecond() -> None:
    # 50,000 entries. Processor time, because the machine may be busy.
    tokens = [bytes([byte]) for byte in range(256)]
    tokens += [f"{' ' * (n % 3)}{n % 211:x}w{n:x}".encode() for n in range(50_000)]
    vocabulary = Vocabulary(tokens)
    ids = [ord(" "), *b"def value_0", *b"  7w"]
    seconds = []
    for _ in range(50):
        before = time.process_time()
        healed = vocabulary.heal(ids)
        vocabulary.allowed(healed.pending)
        seconds.append(time.process_time() - before)
    assert healed.pending
    assert statistics.median(seconds) < 1e-3
