from email.message import Message
from importlib.metadata import PackageMetadata
from pathlib import Path
from typing import cast

import pytest

from codeling.corpus.sources.licenses import (
    PERMISSIVE,
    allow_list,
    is_allowed,
    license_of_folder,
    license_of_metadata,
    license_of_text,
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"License-Expression": "MIT OR Apache-2.0", "License": "x"}, "MIT OR Apache-2.0"),
        ({"Classifier": "License :: OSI Approved :: MIT License", "License": "x"}, "MIT"),
        ({"License": "Apache 2.0 License"}, "Apache 2.0 License"),
        ({"License": "Copyright\nAll of it"}, "unknown"),
        ({"License": "long " * 40}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_metadata(fields: dict[str, str], expected: str) -> None:
    message = Message()
    for key, value in fields.items():
        message[key] = value.replace("\n", "\n  ")
    assert license_of_metadata(cast("PackageMetadata", message)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Permission is hereby granted, free\n of charge, to any person", "MIT"),
        ("  Apache License\n  Version 2.0, January 2004", "Apache-2.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n  Version 3", "LGPL-3.0"),
        ("Redistribution and use in source and binary forms", "BSD-2-Clause"),
        ("Redistribution and use in source and binary ... Neither the name of", "BSD-3-Clause"),
        ("SPDX-License-Identifier: 0BSD\n", "0BSD"),
        ("all mine", "unknown"),
    ],
)
def test_wording(text: str, expected: str) -> None:
    assert license_of_text(text) == expected


def test_folder(tmp_path: Path) -> None:
    assert license_of_folder(tmp_path) == "unknown"
    (tmp_path / "LICENSE.txt").write_bytes(b"\xff\xfe SPDX-License-Identifier: ISC\n")
    assert license_of_folder(tmp_path) == "ISC"


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("mit", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("MIT AND (Apache-2.0 OR GPL-2.0)", True),
        ("(GPL-2.0 OR GPL-3.0) AND MIT", False),
        ("GPL-2.0 OR MIT AND Apache-2.0", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0 WITH Classpath-exception-2.0 OR MIT", True),
        ("Apache-2.0+", True),
        ("MIT OR", False),
        ("(MIT", False),
        ("MIT)", False),
        ("MIT Apache-2.0", False),
        ("see the file", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_an_expression_is_answered_as_it_is_meant(expression: str, allowed: bool) -> None:
    assert is_allowed(expression, allow_list(["permissive"])) is allowed


def test_the_allow_list_takes_names_and_their_kind() -> None:
    assert allow_list(["GPL-3.0"]) == {"gpl-3.0"}
    assert is_allowed("GPL-3.0-or-later", allow_list(["GPL-3.0"]))
    assert is_allowed("GPL-3.0-or-later", allow_list(["GPL-3.0-or-later"]))
    assert allow_list(["Permissive"]) > PERMISSIVE
    assert not {name for name in PERMISSIVE if "gpl" in name or name.startswith(("mpl", "epl"))}
