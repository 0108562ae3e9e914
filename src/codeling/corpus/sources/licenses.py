"""Which licence covers a repository: from a distribution's metadata or from a licence file.

Answers with an SPDX identifier or expression where the words are plain, else with the
project's own short words, else ``unknown``. A help for sorting, not legal advice. Knows no
sources and no tables.

Formats: PyPA core metadata 2.4 (``License-Expression``, classifiers, ``License``); the SPDX
licence list.
"""

import re
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageMetadata
from pathlib import Path

UNKNOWN = "unknown"
PERMISSIVE = frozenset(
    """
    0BSD AFL-2.1 AFL-3.0 Apache-1.1 Apache-2.0 Artistic-2.0 BSD BSD-1-Clause BSD-2-Clause
    BSD-2-Clause-Patent BSD-2-Clause-Views BSD-3-Clause BSD-3-Clause-Clear BSD-3-Clause-LBNL
    BSD-4-Clause BSD-Source-Code BSL-1.0 BlueOak-1.0.0 CC-BY-4.0 CC0-1.0 CNRI-Python ECL-2.0 FTL
    HPND ICU ISC MIT MIT-0 MIT-CMU MIT-Modern-Variant MS-PL MulanPSL-2.0 NCSA OLDAP-2.8 PSF-2.0
    PostgreSQL Python-2.0 Ruby UPL-1.0 Unicode-DFS-2016 Unlicense W3C WTFPL X11 ZPL-2.0 ZPL-2.1
    Zlib
    """.lower().split()
)
"""What ``permissive`` stands for. The Stack's rule (Kocetkov et al. 2022, from its version 1.1 on,
and Lozhkov et al. 2024): a licence that asks for little more than to be named, by the Blue Oak
Council's list; of that list the identifiers that are met with Python. ``BSD`` is what a classifier
of a distribution says without a number."""
_EXPRESSION = re.compile(r"[()]|[^\s()]+")
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU Affero General Public License v3": "AGPL-3.0",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
_FILE_NAMES = re.compile(r"(?:un)?licen[cs]e|copying", re.IGNORECASE)
_WORDINGS = (
    ("AGPL-3.0", r"gnu affero general public license version 3"),
    ("LGPL-3.0", r"gnu lesser general public license version 3"),
    ("LGPL-2.1", r"gnu lesser general public license version 2\.1"),
    ("GPL-3.0", r"gnu general public license version 3"),
    ("GPL-2.0", r"gnu general public license version 2"),
    ("Apache-2.0", r"apache license,? version 2\.0"),
    ("MPL-2.0", r"mozilla public license,? version 2\.0"),
    ("PSF-2.0", r"python software foundation license version 2"),
    ("Unlicense", r"this is free and unencumbered software"),
    ("BSD-3-Clause", r"redistribution and use in source and binary.*neither the names? of"),
    ("BSD-2-Clause", r"redistribution and use in source and binary"),
    ("ISC", r"permission to use, copy, modify,? and/?(?:or)? distribute this software"),
    ("MIT", r"permission is hereby granted, free of charge"),
)


def license_of_metadata(fields: PackageMetadata | None) -> str:
    """From a distribution's metadata: the expression, else classifiers, else a short field."""
    if fields is None:
        return UNKNOWN
    expression = metadata_field(fields, "License-Expression").strip()
    if expression:
        return expression
    named = [
        classifier.rpartition(" :: ")[2]
        for classifier in fields.get_all("Classifier") or []
        if classifier.startswith("License :: OSI Approved :: ")
    ]
    if named:
        return " OR ".join(sorted({_CLASSIFIERS.get(name, name) for name in named}))
    short = metadata_field(fields, "License").strip()
    return short if 0 < len(short) <= 64 and "\n" not in short else UNKNOWN


def metadata_field(fields: PackageMetadata | None, key: str) -> str:
    """One field of a distribution's metadata, empty where it is missing."""
    return str(fields[key] or "") if fields is not None and key in fields else ""


def license_of_folder(root: Path) -> str:
    """From the licence file at the top of a folder, by its SPDX tag or its well-known words."""
    try:
        names = sorted(p for p in root.iterdir() if _FILE_NAMES.match(p.name) and p.is_file())
    except OSError:
        return UNKNOWN
    for path in names:
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                found = license_of_text(file.read(8_000))
        except OSError:
            continue
        if found != UNKNOWN:
            return found
    return UNKNOWN


def license_of_text(text: str) -> str:
    """The SPDX identifier of a licence's text, or ``unknown``."""
    tag = re.search(r"SPDX-License-Identifier:\s*([\w.+-]+)", text)
    if tag:
        return tag[1]
    plain = " ".join(text.lower().split())
    for identifier, wording in _WORDINGS:
        if re.search(wording, plain):
            return identifier
    return UNKNOWN


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Whether a licence may be used under ``allowed``, identifiers in lower case.

    An expression of SPDX is answered as it is meant: of ``A OR B`` one is enough, of ``A AND B``
    both are needed, and an exception (``WITH``) only allows more. ``A+`` is ``A``; so are
    ``A-only`` and ``A-or-later``. Words that are no expression are taken whole.
    """
    whole = expression.strip().lower()
    if whole in allowed:
        return True
    pieces = _EXPRESSION.findall(whole)
    try:
        answer, end = _either(pieces, 0, allowed)
    except IndexError:
        return False
    return answer and end == len(pieces)


def allow_list(names: Iterable[str]) -> frozenset[str]:
    """The identifiers that ``names`` stand for, in lower case; ``permissive`` is many."""
    lowered = {name.strip().lower() for name in names}
    return frozenset(lowered | PERMISSIVE if "permissive" in lowered else lowered)


def _either(pieces: Sequence[str], start: int, allowed: frozenset[str]) -> tuple[bool, int]:
    answer, end = _both(pieces, start, allowed)
    while end < len(pieces) and pieces[end] == "or":
        other, end = _both(pieces, end + 1, allowed)
        answer = answer or other
    return answer, end


def _both(pieces: Sequence[str], start: int, allowed: frozenset[str]) -> tuple[bool, int]:
    answer, end = _one(pieces, start, allowed)
    while end < len(pieces) and pieces[end] == "and":
        other, end = _one(pieces, end + 1, allowed)
        answer = answer and other
    return answer, end


def _one(pieces: Sequence[str], start: int, allowed: frozenset[str]) -> tuple[bool, int]:
    if pieces[start] == "(":
        answer, end = _either(pieces, start + 1, allowed)
        return answer and pieces[end] == ")", end + 1
    name = pieces[start].removesuffix("+").removesuffix("-only").removesuffix("-or-later")
    answer, end = pieces[start] in allowed or name in allowed, start + 1
    if end < len(pieces) and pieces[end] == "with":
        end += 2
    return answer, end
