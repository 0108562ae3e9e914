"""Recipe keys that were renamed, removed or added since the previous version.

Old keys are accepted for one version, in a recipe, in ``--set`` and in what a run folder recorded.
A new key at its default counts as what the previous version did. To rename a key, add it to
:data:`RENAMED`; when the next version is out, empty the tables.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from codeling.errors import RecipeError

RENAMED: Mapping[str, str] = {
    "training.bigram_updates": "training.warm_start_steps",
    "training.infilling_rate": "training.fim_rate",
    "training.isolate_documents": "training.intra_document_masking",
    "training.suffix_first_rate": "training.fim_spm_rate",
}
"""Old ``table.key`` to new ``table.key`` of the same table."""

REMOVED: Mapping[str, Any] = {
    "training.average_tail": 0.0,
    "training.packing": "stream",
    "training.spike_sigma": None,
}
"""Removed ``table.key`` to its default, the only value that is still accepted."""

ADDED: Mapping[str, Any] = {"training.infilling_cuts": "random"}
"""New ``table.key`` to its default, with which a run is the same as without the key."""


def update_recipe(values: dict[str, Any]) -> list[str]:
    """Rename and remove old keys of a parsed recipe in place; return one note per key.

    :raises RecipeError: a key is given under both names, or a removed key is not at its default.
    """
    notes = []
    for name in (*RENAMED, *REMOVED):
        *tables, key = name.split(".")
        section: Any = values
        for table in tables:
            section = section.get(table) if isinstance(section, dict) else None
        if not isinstance(section, dict) or key not in section:
            continue
        value = section.pop(key)
        current, note = update_key(name, value)
        notes.append(note)
        if current is not None:
            new_key = current.rpartition(".")[2]
            if new_key in section:
                raise RecipeError(
                    f"{_shown(name)} is the old name of {new_key} and both are given; delete {key}"
                )
            section[new_key] = value
    return notes


def update_key(name: str, value: Any) -> tuple[str | None, str]:
    """Current ``table.key`` of the old ``name`` (None: removed), and a note for the user.

    The note is empty where ``name`` is not an old key.

    :raises RecipeError: the key was removed and ``value`` is not its default.
    """
    if name in RENAMED:
        new_key = RENAMED[name].rpartition(".")[2]
        note = f"{_shown(name)} is now called {new_key}; the next version will reject the old name"
        return RENAMED[name], note
    if name in REMOVED:
        if value != REMOVED[name]:
            raise RecipeError(f"{_shown(name)} was removed; delete it (got {value!r})")
        return None, f"{_shown(name)} was removed; delete it, the next version will reject it"
    return name, ""


def update_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded settings (``table.key`` to value) under their current names.

    A removed key disappears if it has its default; otherwise it stays, and the stage that it
    belongs to counts as changed. A key that was added since has its default, unless the stage
    depends on a single key of its table.
    """
    num_keys = Counter(name.partition(".")[0] for name in settings)
    added = {name: value for name, value in ADDED.items() if num_keys[name.partition(".")[0]] > 1}
    return added | {
        RENAMED.get(name, name): value
        for name, value in settings.items()
        if name not in REMOVED or value != REMOVED[name]
    }


def without_added(table: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys and ``values`` of one ``table`` without new keys at their defaults."""
    return {
        key: value
        for key, value in values.items()
        if f"{table}.{key}" not in ADDED or value != ADDED[f"{table}.{key}"]
    }


def previous_table(table: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys and ``values`` of one ``table`` as the previous version wrote them."""
    old_names = {new: old for old, new in RENAMED.items()}
    found = {}
    for key, value in without_added(table, values).items():
        name = f"{table}.{key}"
        found[old_names.get(name, name).rpartition(".")[2]] = value
    for name, default in REMOVED.items():
        if name.rpartition(".")[0] == table:
            found[name.rpartition(".")[2]] = default
    return found


def _shown(name: str) -> str:
    table, _, key = name.rpartition(".")
    return f"[{table}] {key}"
