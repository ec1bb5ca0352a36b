"""README.md and ARCHITECTURE.md say what is so: code runs and prints what it says, commands and files exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from documents import FILE, ROOT, blocks, missing_files, read, run

from numrnn import _threads, cli

README, ARCHITECTURE = read("README.md"), read("ARCHITECTURE.md")


def test_the_code_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_threads, "_setting", None)
    run("README.md", blocks(README, "python"))


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
    assert missing_files(text) == set()


def test_every_module_is_on_the_map() -> None:
    modules = {path.relative_to(ROOT / "numrnn") for path in (ROOT / "numrnn").rglob("*.py")}
    named = set(FILE.findall(ARCHITECTURE))
    expected = {str(path) if len(path.parts) < 3 else path.name for path in modules if path.name != "__init__.py"}
    assert expected - named == set()
