"""A number with its noun, as a person reads them."""


def quantity(number: float, noun: str) -> str:
    """``1 step``, ``1,234 steps``, ``2 repositories``, ``2 suffixes``.

    A fraction is rounded to a whole number.
    """
    shown = f"{number:,.0f}"
    if shown == "1":
        return f"1 {noun}"
    if noun.endswith("y"):
        return f"{shown} {noun[:-1]}ies"
    return f"{shown} {noun}{'es' if noun.endswith(('s', 'x')) else 's'}"
