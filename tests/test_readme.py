"""README.md and ARCHITECTURE.md say what is so: code runs and prints what it says, commands and files exist."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from numrnn import _threads, cli

ROOT = Path(__file__).parents[1]
README, ARCHITECTURE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "ARCHITECTURE.md"))
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"print\(.*\) +# (.*)")
FILE = re.compile(r"[\w./]+\.(?:py|md|csv|json|toml)\b")


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """Return the blocks of a language, each with the number of lines before it."""
    return [(text.count("\n", 0, found.start(2)), found[2]) for found in FENCED.finditer(text) if found[1] == language]


def test_the_code_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks run in order, as one program; `...` in what a line says that it prints stands for anything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_threads, "_setting", None)
    program = blocks(README, "python")
    printed, namespace = io.StringIO(), dict[str, Any]()
    with contextlib.redirect_stdout(printed):
        for above, code in program:
            exec(compile("\n" * above + code, "README.md", "exec"), namespace)
    said = [text for _, code in program for text in PRINTED.findall(code)]
    lines = printed.getvalue().splitlines()
    assert len(lines) == len(said) == sum(code.count("print(") for _, code in program)
    for line, text in zip(lines, said, strict=True):
        assert re.fullmatch(re.escape(text).replace(r"\.\.\.", ".*"), line), f"printed {line}, README says {text}"


def commands() -> list[str]:
    """Every command line `numrnn ...` in a block or in backticks, of both files."""
    both = README + ARCHITECTURE
    lines = [line.partition("#")[0] for _, code in blocks(both, "sh") for line in code.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")] + re.findall(r"`([^`\n]+)`", both)
    return sorted({part for part in parts if part.startswith("numrnn ")})


@pytest.mark.parametrize("line", commands())
def test_commands_and_their_options_exist(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, command, *words = shlex.split(line)
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    options = re.findall(r"--[\w-]+", capsys.readouterr().out)
    assert {word for word in words if word.startswith("--")} <= set(options)


@pytest.mark.parametrize("text", [README, ARCHITECTURE], ids=["README", "ARCHITECTURE"])
def test_files_that_are_named_exist(text: str) -> None:
    """By their path or its end."""
    here = [f"/{path.relative_to(ROOT)}" for path in ROOT.rglob("*") if ".git" not in path.parts]
    named = {name.removeprefix("./") for name in FILE.findall(re.sub(r"https?://\S+", "", text))}
    assert {name for name in named if not any(path.endswith(f"/{name}") for path in here)} == set()


def test_every_module_is_on_the_map() -> None:
    modules = {path.relative_to(ROOT / "numrnn") for path in (ROOT / "numrnn").rglob("*.py")}
    named = set(FILE.findall(ARCHITECTURE))
    expected = {str(path) if len(path.parts) < 3 else path.name for path in modules if path.name != "__init__.py"}
    assert expected - named == set()
