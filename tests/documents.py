"""The project's documents as programs: their blocks of code, run in order, must print what they say."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FILE = re.compile(r"[\w./-]+\.(?:py|md|csv|json|toml)\b")

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PRINTED = re.compile(r"print\(.*\) +# (.*)")


def read(name: str) -> str:
    """Return the text of a document."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """Return the blocks of a language, each with the number of lines before it."""
    return [(text.count("\n", 0, found.start(2)), found[2]) for found in _FENCED.finditer(text) if found[1] == language]


def run(name: str, program: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """Run blocks as one program; `...` in what a line says that it prints stands for anything."""
    printed, namespace = io.StringIO(), dict[str, Any]()
    with contextlib.redirect_stdout(printed):
        for above, code in program:
            exec(compile("\n" * above + code, name, "exec"), namespace)
    said = [text for _, code in program for text in _PRINTED.findall(code)]
    lines = printed.getvalue().splitlines()
    assert len(lines) == len(said) == sum(code.count("print(") for _, code in program)
    for line, text in zip(lines, said, strict=True):
        assert re.fullmatch(re.escape(text).replace(r"\.\.\.", ".*"), line), f"printed {line}, {name} says {text}"
    return namespace


def missing_files(text: str) -> set[str]:
    """Return the files that a text names and that are not there, by their path or its end."""
    here = [f"/{path.relative_to(ROOT)}" for path in ROOT.rglob("*") if ".git" not in path.parts]
    named = {name.removeprefix(".").removeprefix("./") for name in FILE.findall(re.sub(r"https?://\S+", "", text))}
    return {name for name in named if not any(path.endswith(f"/{name}") for path in here)}
