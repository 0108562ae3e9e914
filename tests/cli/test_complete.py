import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import codeling
from codeling import cli
from codeling.cli.app import app
from codeling.errors import CodelingError, InputError, ModelError, UsageError
from codeling.generation.request import default_temperature
from codeling.model import weights
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.train import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a tiny model of random weights."""
    tokenizer = train([Path(__file__).read_text()], TokenizerRecipe(vocab_size=300, seed=0))
    model = GPT2(GPT2Config(300, 64, 1, 2, 16))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    run = tmp_path_factory.mktemp("run")
    weights.save(run / "model", model, end_of_text_id=tokenizer.end_of_text)
    tokenizer.save_for_hugging_face(run / "model", 64)
    return run


def run(*arguments: str | Path, stdin: bytes = b"") -> Result:
    result = CliRunner().invoke(app, ["complete", *map(str, arguments)], input=stdin)
    if isinstance(result.exception, CodelingError):
        raise result.exception
    return result


def test_standard_output_is_the_completion(folder: Path, tmp_path: Path) -> None:
    expected = codeling.load(folder).complete("import os\n", max_new_tokens=20).text
    file = tmp_path / "prompt.py"
    file.write_text("import os\n")
    for result in (
        run(folder, "--prompt", "import os\n", "--max-new-tokens", "20"),
        run(folder, file, "--max-new-tokens", "20"),
        run(folder / "model", "-", "--max-new-tokens", "20", stdin=b"import os\n"),
    ):
        assert result.exit_code == 0
        assert result.stdout == expected


def test_once_the_kernels_are_compiled_only_what_is_needed_is_loaded(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.py").write_text("import os\n")
    arguments = ["complete", str(folder), "--prompt", "import os\nimport", "--project", "."]
    program = (
        f"import sys; from codeling import cli; sys.argv[1:] = {arguments}; cli.main();"
        "import os; print(); print(os.environ['OPENBLAS_NUM_THREADS']);"
        "print(sorted({'numba', 'torch', 'daft', 'scipy'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program.replace("cli.main()", "cli._call()")]
    for _ in range(2):  # the first may compile
        out = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    assert out.endswith(b"\n1\n[]\n")  # numpy's threads are not started either


def test_json_has_every_completion(folder: Path) -> None:
    result = run(
        folder, "--prompt", "def f():", "--suffix", "\nx = 1\n", "-n", "3", "--temperature", "1.5",
        "--top-k", "40", "--top-p", "0.9", "--prose-temperature", "2", "--stop", "e",
        "--stop", "(", "--block", "--seed", "7", "--max-new-tokens", "9", "--max-repeats", "1",
        "--json",
    )  # fmt: skip
    answer = json.loads(result.stdout)
    expected = codeling.load(folder).complete_many(
        "def f():", 3, "\nx = 1\n", temperature=1.5, top_k=40, top_p=0.9, prose_temperature=2.0,
        stop=["e", "("], stop_at_block_end=True, seed=7, max_new_tokens=9, max_repeats=1,
    )  # fmt: skip
    assert (answer["prompt"], answer["suffix"]) == ("def f():", "\nx = 1\n")
    assert [c["text"] for c in answer["completions"]] == [c.text for c in expected]
    assert [tuple(c["ids"]) for c in answer["completions"]] == [c.ids for c in expected]
    assert [c["finish_reason"] for c in answer["completions"]] == [
        c.finish_reason for c in expected
    ]


def test_several_completions_are_sampled_and_numbered(folder: Path) -> None:
    out = run(folder, "--prompt", "x", "-n", "3", "--max-new-tokens", "12").stdout
    titles = [line for line in out.splitlines() if line.startswith("# completion ")]
    assert [title[:19] for title in titles] == [f"# completion {k} of 3"[:19] for k in (1, 2, 3)]
    texts = [
        c.text
        for c in codeling.load(folder).complete_many("x", 3, temperature=0.8, max_new_tokens=12)
    ]
    assert len(set(texts)) == 3
    assert all(text in out for text in texts)


def test_a_block_that_ends_at_the_limit_is_noted(folder: Path) -> None:
    command = (folder, "--prompt", "def f():\n    x = (", "--block", "--max-new-tokens", "3")
    note = "stopped at the limit of 3 tokens; the block is not complete\n"
    assert run(*command).stderr == note
    assert note in run(*command, "-n", "2").stderr
    assert note not in run(*command, "--json").stderr
    assert note not in run(*command[:3], "--max-new-tokens", "3").stderr


def test_a_file_is_decoded_by_its_declared_encoding(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "latin.py"
    file.write_bytes("# coding: latin-1\nx = 'é'\n".encode("latin-1"))
    answer = json.loads(run(folder, file, "--max-new-tokens", "1", "--json").stdout)
    assert answer["prompt"] == "# coding: latin-1\nx = 'é'\n"


def test_wrong_use_and_bad_input_are_one_line(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_bytes(b"x = '\xff'\n")
    broken = tmp_path / "broken"
    weights.save(broken, GPT2(GPT2Config(300, 64, 1, 2, 16)), end_of_text_id=0)
    (broken / "tokenizer.json").write_bytes((folder / "model" / "tokenizer.json").read_bytes())
    (broken / "model.safetensors").write_bytes(b"\0" * 99)
    cases: list[tuple[type[CodelingError], str, list[str | Path]]] = [
        (UsageError, "give either --prompt", [folder]),
        (UsageError, "give either --prompt", [folder, bad, "--prompt", "x"]),
        (
            UsageError,
            "--sources needs a memory",
            [folder, "--prompt", "x", "--sources", "--memory", "off"],
        ),
        (UsageError, "is not a model", [tmp_path / "nowhere", "--prompt", "x"]),
        (UsageError, "is not a model", [bad, "--prompt", "x"]),
        (UsageError, "temperature must be", [folder, "--prompt", "x", "--temperature", "-1"]),
        (UsageError, "max_new_tokens must be", [folder, "--prompt", "x", "--max-new-tokens", "0"]),
        (UsageError, "lone surrogate", [folder, "--prompt", "x\udcff"]),
        (InputError, "bad.py: not Python text", [folder, bad]),
        (UsageError, "No such file", [folder, tmp_path / "missing.py"]),
        (UsageError, "Is a directory", [folder, tmp_path]),
        (UsageError, "the model's name is empty", ["", "--prompt", "x"]),
        (UsageError, "n must be at most", [folder, "--prompt", "x", "-n", "1000000000"]),
        (ModelError, "not a safetensors file, or damaged", [broken, "--prompt", "x"]),
    ]
    for error, message, arguments in cases:
        with pytest.raises(error, match=message) as caught:
            run(*arguments)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == (2 if error is UsageError else 1)


def test_main_prints_one_line_and_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["codeling", "complete", "nowhere", "--prompt", "x"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "codeling: nowhere is not a model (there is no such folder); give a run folder, "
        "a Hugging Face folder or hf://owner/name"
    ]


def test_help_gives_the_default_temperature() -> None:
    words = " ".join(run("--help").stdout.replace("│", " ").split())
    assert f"0; {default_temperature(2)} if -n is above 1" in words
    assert default_temperature(1) == 0


def test_help_has_an_example() -> None:
    assert "codeling complete runs/demo" in run("--help").stdout


def test_the_memory_continues_text_of_the_project_and_names_the_place(
    folder: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    body = "    return combine(first_argument, second_argument)\n"
    known = f"def join(first_argument, second_argument):\n{body}"
    (project / "known.py").write_text(known * 2)
    (project / "new.py").write_text(known.partition("return")[0])
    arguments = folder, str(project / "new.py"), "--max-new-tokens", "40"
    alone = run(*arguments, "--memory", "off").stdout
    with_project = run(*arguments, "--project", str(project), "--sources")
    assert "no other Python files" not in with_project.stderr
    assert "combine(first" in with_project.stdout
    assert "combine(first" not in alone
    assert "known.py:" in with_project.stderr
    answer = json.loads(run(*arguments, "--project", str(project), "--sources", "--json").stdout)
    places = answer["completions"][0]["sources"]
    assert {place["source"] for place in places} <= {"document", "project"}
    assert all(place["path"] in (None, "known.py") for place in places)
    (project / "known.py").unlink()
    assert "no other Python files" in run(*arguments, "--project", str(project)).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--memory", "on"), "memory is auto, document, off; not 'on'"),
        (("--memory", "off", "--project", "."), "a project needs a memory"),
        (("--project", "missing"), "missing: no folder that can be read"),
    ],
)
def test_a_memory_that_cannot_be_used_is_one_line(
    folder: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(folder, "--prompt", "x", *options)
