"""Finds the licence of a repository: from a distribution's metadata or from licence files.

Returns an SPDX identifier or expression where the words are clear, else the project's own short
words, else ``unknown``. An aid for sorting, not legal advice. This module must not know sources or
tables.

Formats: PyPA core metadata 2.4 (``License-Expression``, ``License-File``, classifiers, ``License``)
and the SPDX licence list.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, PackageMetadata
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
"""The licences that ``permissive`` includes: the rule of The Stack (Kocetkov et al. 2022, from
version 1.1 on, and Lozhkov et al. 2024). A permissive licence asks for little more than
attribution, by the Blue Oak Council's list; these are the identifiers of that list that occur with
Python. ``BSD`` is what a classifier says without a number."""
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
_READ_CHARACTERS = 8_000
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


def distribution_license(distribution: Distribution) -> str:
    """Return the licence of an installed distribution.

    The first of: the licence expression, the classifiers (several are joined by AND, because they
    do not say that one may choose), the ``License`` field if it is an SPDX identifier, the licence
    files (several are joined by AND), the ``License`` field.
    """
    fields = distribution.metadata
    expression = metadata_field(fields, "License-Expression").strip()
    if expression:
        return expression
    classifiers = (
        classifier.removeprefix("License :: ").removeprefix("OSI Approved").removeprefix(" :: ")
        for classifier in (fields.get_all("Classifier") or [] if fields is not None else [])
        if classifier.startswith("License :: ")
    )
    if named := _all_of(_CLASSIFIERS.get(name, name) for name in classifiers if name):
        return named
    words = metadata_field(fields, "License").strip()
    if words.lower() in PERMISSIVE or words in _CLASSIFIERS.values():
        return words
    if found := _all_of(map(text_license, _license_texts(distribution))):
        return found
    return words if 0 < len(words) <= 64 and "\n" not in words else UNKNOWN


def metadata_field(fields: PackageMetadata | None, key: str) -> str:
    """Return one field of a distribution's metadata, empty where it is missing."""
    return str(fields[key] or "") if fields is not None and key in fields else ""


def _all_of(names: Iterable[str]) -> str:
    """Join the known licences by AND; empty if there is none."""
    return " AND ".join(sorted({name for name in names if name != UNKNOWN}))


def _license_texts(distribution: Distribution) -> Iterator[str]:
    """Texts of the licence files in a distribution's ``dist-info`` or ``egg-info`` folder."""
    for file in distribution.files or []:
        is_metadata = file.parts[0].endswith((".dist-info", ".egg-info"))
        if is_metadata and _FILE_NAMES.match(file.name):
            yield _read_start(Path(str(distribution.locate_file(file))))


def folder_license(root: Path) -> str:
    """Return the licence of a folder from its licence file, by SPDX tag or well-known words."""
    try:
        paths = sorted(p for p in root.iterdir() if _FILE_NAMES.match(p.name) and p.is_file())
    except OSError:
        return UNKNOWN
    found = (text_license(_read_start(path)) for path in paths)
    return next((name for name in found if name != UNKNOWN), UNKNOWN)


def _read_start(path: Path) -> str:
    """The first characters of a file, empty where it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_READ_CHARACTERS)
    except OSError:
        return ""


def text_license(text: str) -> str:
    """Return the SPDX identifier of a licence's text, or ``unknown``."""
    tag = re.search(r"SPDX-License-Identifier:\s*([\w.+-]+)", text)
    if tag:
        return tag[1]
    plain = " ".join(text.lower().split())
    for identifier, wording in _WORDINGS:
        if re.search(wording, plain):
            return identifier
    return UNKNOWN


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Whether a licence may be used under ``allowed`` (identifiers in lower case).

    ``A OR B`` needs one of both, ``A AND B`` both. An exception (``WITH``) only adds permissions
    and is ignored. ``A+``, ``A-only`` and ``A-or-later`` count as ``A``. Text that is not an SPDX
    expression is compared as a whole.
    """
    whole = expression.strip().lower()
    if whole in allowed:
        return True
    pieces = _EXPRESSION.findall(whole)
    try:
        answer, end = _parse_or(pieces, 0, allowed)
    except IndexError:
        return False
    return answer and end == len(pieces)


def allow_list(names: Iterable[str]) -> frozenset[str]:
    """Return the identifiers of ``names`` in lower case, with ``permissive`` expanded."""
    lowered = {name.strip().lower() for name in names}
    return frozenset(lowered | PERMISSIVE if "permissive" in lowered else lowered)


def _parse_or(pieces: Sequence[str], start: int, allowed: frozenset[str]) -> tuple[bool, int]:
    answer, end = _parse_and(pieces, start, allowed)
    while end < len(pieces) and pieces[end] == "or":
        other, end = _parse_and(pieces, end + 1, allowed)
        answer = answer or other
    return answer, end


def _parse_and(pieces: Sequence[str], start: int, allowed: frozenset[str]) -> tuple[bool, int]:
    answer, end = _parse_operand(pieces, start, allowed)
    while end < len(pieces) and pieces[end] == "and":
        other, end = _parse_operand(pieces, end + 1, allowed)
        answer = answer and other
    return answer, end


def _parse_operand(pieces: Sequence[str], start: int, allowed: frozenset[str]) -> tuple[bool, int]:
    if pieces[start] == "(":
        answer, end = _parse_or(pieces, start + 1, allowed)
        return answer and pieces[end] == ")", end + 1
    name = pieces[start].removesuffix("+").removesuffix("-only").removesuffix("-or-later")
    answer, end = pieces[start] in allowed or name in allowed, start + 1
    if end < len(pieces) and pieces[end] == "with":
        end += 2
    return answer, end
