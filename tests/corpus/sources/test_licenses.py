from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from codeling.corpus.sources.licenses import (
    PERMISSIVE,
    allow_list,
    distribution_license,
    folder_license,
    is_allowed,
    text_license,
)

APACHE = "Apache License\nVersion 2.0, January 2004\n"
MIT = "Permission is hereby granted, free of charge, to any person\n"


def distribution(
    folder: Path, fields: list[tuple[str, str]], files: dict[str, str] | None = None
) -> PathDistribution:
    info = folder / "a-1.0.dist-info"
    for name, text in (files or {}).items():
        path = info / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    info.mkdir(exist_ok=True)
    lines = [f"{key}: {value}" for key, value in [("Name", "a"), ("Version", "1.0"), *fields]]
    (info / "METADATA").write_text("\n".join(lines) + "\n\n")
    record = ["a/__init__.py,,", *(f"a-1.0.dist-info/{name},," for name in files or {})]
    (info / "RECORD").write_text("\n".join(record) + "\n")
    return PathDistribution(info)


CLASSIFIER = "License :: OSI Approved :: "


@pytest.mark.parametrize(
    ("fields", "files", "expected"),
    [
        ([("License-Expression", "MIT OR Apache-2.0"), ("License", "x")], {}, "MIT OR Apache-2.0"),
        ([("Classifier", CLASSIFIER + "MIT License"), ("License", "x")], {}, "MIT"),
        (
            [
                ("Classifier", CLASSIFIER + "MIT License"),
                ("Classifier", CLASSIFIER + "BSD License"),
            ],
            {},
            "BSD AND MIT",
        ),
        (
            [
                ("Classifier", "License :: OSI Approved"),
                ("Classifier", CLASSIFIER + "MIT License"),
                ("Classifier", "License :: Other/Proprietary License"),
            ],
            {},
            "MIT AND Other/Proprietary License",
        ),
        ([("License", "Apache 2.0 License")], {}, "Apache 2.0 License"),
        ([("License", "Copyright\n  All of it")], {}, "unknown"),
        ([("License", "long " * 40)], {}, "unknown"),
        ([], {}, "unknown"),
        ([], {"licenses/LICENSE": APACHE}, "Apache-2.0"),
        ([], {"LICENSE.txt": APACHE}, "Apache-2.0"),
        ([], {"licenses/LICENSE.APACHE": APACHE, "LICENSE.MIT": MIT}, "Apache-2.0 AND MIT"),
        ([("License", "see the file")], {"licenses/LICENSE": MIT, "AUTHORS": APACHE}, "MIT"),
        ([("License", "BSD-3-Clause")], {"licenses/LICENSE": MIT}, "BSD-3-Clause"),
        ([("Classifier", CLASSIFIER + "MIT License")], {"licenses/LICENSE": APACHE}, "MIT"),
        ([("License", "mine")], {"licenses/LICENSE": "all mine"}, "mine"),
    ],
)
def test_a_distribution_has_the_licence_it_declares(
    fields: list[tuple[str, str]], files: dict[str, str], expected: str, tmp_path: Path
) -> None:
    assert distribution_license(distribution(tmp_path, fields, files)) == expected


def test_several_classifiers_allow_only_what_all_of_them_allow(tmp_path: Path) -> None:
    names = ("MIT License", "GNU General Public License v3 (GPLv3)")
    fields = [("Classifier", CLASSIFIER + name) for name in names]
    found = distribution_license(distribution(tmp_path, fields))
    assert not is_allowed(found, allow_list(["permissive"]))
    assert is_allowed(found, allow_list(["permissive", "GPL-3.0"]))


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
def test_a_licence_is_recognised_by_its_wording(text: str, expected: str) -> None:
    assert text_license(text) == expected


def test_folder(tmp_path: Path) -> None:
    assert folder_license(tmp_path) == "unknown"
    (tmp_path / "LICENSE.txt").write_bytes(b"\xff\xfe SPDX-License-Identifier: ISC\n")
    assert folder_license(tmp_path) == "ISC"


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
