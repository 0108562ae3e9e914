"""Which licence covers a repository: from a distribution's metadata or from a licence file.

Answers with an SPDX identifier or expression where the words are plain, else with the
project's own short words, else ``unknown``. A help for sorting, not legal advice. Knows no
sources and no tables.

Formats: PyPA core metadata 2.4 (``License-Expression``, classifiers, ``License``); the SPDX
licence list.
"""

import re
from importlib.metadata import PackageMetadata
from pathlib import Path

UNKNOWN = "unknown"
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
