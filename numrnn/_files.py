"""Arrays and a description in one safetensors file, which replaces an older one at once or not at all."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain, kind_of

__all__ = [
    "described",
    "read_arrays",
    "read_path",
    "replace_file",
    "require_regular",
    "target_path",
    "write_arrays",
]

_LONGEST_HEADER = 1 << 20  # bytes: some thousands of arrays

Check: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Sequence[int]]], None]


def require_regular(head: str, path: str | os.PathLike[str], called: str = "it") -> None:
    """Refuse pipes, devices and sockets, which may keep a reader waiting for ever; a folder is left to `open`.

    Raises OSError if there is nothing, ValueError for what is no regular file.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(explain(head, f"{called} is no regular file."))


def target_path(head: str, name: str, value: object) -> Path:
    """The path of a file to be written, in a folder that exists; there may be a file or nothing."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(explain(head, f"`{name}` should be a path, got {kind_of(value)}."))
    path = Path(value)
    folder = Path(os.path.realpath(path)).parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        raise FileNotFoundError(explain(head, f"`{name}`: the folder {str(folder)!r} does not exist."))
    if path.is_dir():
        raise IsADirectoryError(explain(head, f"`{name}`: {str(path)!r} is a folder.", "Pass the path of a file."))
    with contextlib.suppress(FileNotFoundError):
        require_regular(head, path, f"`{name}`: {str(path)!r}")
    return path


def read_path(head: str, name: str, value: object) -> Path:
    """The path of a safetensors file to be written; says before any work is done that the library is missing."""
    path = target_path(head, name, value)
    _safetensors(head)
    return path


def write_arrays(head: str, path: Path, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> None:
    """Write a file of arrays, which replaces an older one at once or not at all."""
    data = _safetensors(head)[1].save(
        {name: np.asarray(value, order="C") for name, value in arrays.items()},
        metadata={"numrnn": json.dumps(description)},
    )
    replace_file(path, data)


def replace_file(path: Path, data: bytes) -> None:
    """Write into a new file beside `path`, then put it in its place; of a link, the file that it leads to."""
    path = Path(os.path.realpath(path))
    beside = path.with_name(f"numrnn-{secrets.token_hex(8)}.part")  # path's own name may be as long as names may be
    mode = path.stat().st_mode & 0o777 if path.exists() else None
    given = 0o666 if mode is None else mode  # the system takes away what a new file of this process may not have
    try:
        with open(beside, "xb", opener=partial(os.open, mode=given)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(beside, mode)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def read_arrays(
    head: str, path: str | os.PathLike[str], kind: str, check: Check | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays of a file that `write_arrays` wrote, and its description, whose "format" must be `kind`.

    `check` is given the description and the arrays' shapes before any array is read, and raises if they are wrong.
    """
    library, _ = _safetensors(head)
    # a file that is not there is an OSError; everything else is the file's fault
    require_regular(head, path, repr(os.fspath(path)))
    try:
        _check_header(path)
        with library.safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {}).get("numrnn", "null"))
            if not isinstance(description, dict) or description.get("format") != kind:
                raise ValueError(_other_kind(kind, description))
            if description.get("version") != 1:
                raise ValueError(f"its format version is {description.get('version')}, and this numrnn reads 1")
            names = file.keys()
            if check is not None:
                check(description, {name: file.get_slice(name).get_shape() for name in names})
            return {name: file.get_tensor(name) for name in names}, description
    except PermissionError:
        raise
    except Exception as error:
        raise ValueError(explain(head, f"{os.fspath(path)!r} cannot be read: {error}")) from error


def _check_header(path: str | os.PathLike[str]) -> None:
    """Refuse a header that is longer than any of ours: the library takes a minute for one of a hundred megabytes."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _LONGEST_HEADER:
        raise ValueError(f"its header claims to have {size} bytes, and {_LONGEST_HEADER} are read at most")


def _other_kind(kind: str, description: object) -> str:
    if isinstance(description, dict) and description.get("format") == "training":
        return "it is a training run; pass it to fit as checkpoint_path, with resume=True"
    return f"it is no {kind} file of numrnn"


def described(head: str, path: str | os.PathLike[str]) -> object:
    """What stands where `write_arrays` puts its description; None where nothing does, or the file is no such file."""
    library, _ = _safetensors(head)
    require_regular(head, path, repr(os.fspath(path)))
    try:
        _check_header(path)
        with library.safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("numrnn")
    except Exception:
        return None


def _safetensors(head: str) -> tuple[Any, Any]:
    try:
        return importlib.import_module("safetensors"), importlib.import_module("safetensors.numpy")
    except ImportError as error:
        raise ImportError(f'{head}: files need safetensors: pip install "numrnn[files]"') from error
