"""What a `.keras` file holds, read as data: its configuration, and the bytes of its weights."""

from __future__ import annotations

import errno
import io
import json
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from numrnn._errors import explain
from numrnn._files import require_regular
from numrnn.engine.memory import readable
from numrnn.interop.keras_errors import said, shown

__all__ = ["read_archive"]

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"

_MOST_DIRECTORY = 2**20
"""Bytes of a list of members; Keras writes some hundreds."""

_MOST_CONFIG = 2**21
"""Bytes of a configuration; as Python objects it takes up to thirty times that."""

_MOST_MORE, _PIECE = 2**25, 2**20
"""Bytes that a member may have more than are stored, so that memory stays near the file's size; how many are unpacked
at a time."""


def read_archive(head: str, path: Path) -> tuple[dict[str, Any], io.BytesIO]:
    """Return the configuration and the HDF5 file of the weights; nothing is unpacked to disk.

    Raises
    ------
    OSError
        A file that is missing or cannot be read.
    ValueError
        A file that is no archive of Keras, or a damaged or hostile one.
    """
    if path.is_dir():
        advice = 'A model saved as a folder is saved again as one file by model.save("model.keras").'
        raise IsADirectoryError(explain(head, "it is a folder.", advice))
    require_regular(head, path)
    with path.open("rb", buffering=0) as raw:
        if raw.read(8) == b"\x89HDF\r\n\x1a\n":
            _refuse_hdf5(head, path)
        raw.seek(0)
        try:
            with _Directory(raw) as source, zipfile.ZipFile(source) as archive:
                source.bounded = False
                members = _members(archive)
                config = json.loads(_read(archive, members, _CONFIG).getbuffer().tobytes())
                if not isinstance(config, dict):
                    raise ValueError(f"{_CONFIG} holds no object, but a {type(config).__name__}")
                return config, _read(archive, members, _WEIGHTS)
        except Exception as error:  # zipfile, zlib and json say what is wrong in a dozen types
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that one is a place outside of the file
                raise
            advice = 'A .keras file is written by model.save("model.keras").'
            raise ValueError(explain(head, f"it cannot be read as a .keras file: {said(error)}.", advice)) from error


class _Directory(io.BufferedReader):
    """A file that refuses to read a list of members which would take many times its memory as Python objects."""

    bounded = True

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.bounded:
            return super().read(size)
        most = _MOST_DIRECTORY + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        if len(data) > _MOST_DIRECTORY:
            raise ValueError(f"its list of members has over {readable(_MOST_DIRECTORY)}")
        return data


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's members by name."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = PurePosixPath(member.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in member.filename:
            raise ValueError(f"it has a member that points out of it, {shown(member.filename)}")
        if member.filename in members:
            raise ValueError(f"it has two members {shown(member.filename)}")
        members[member.filename] = member
    return members


def _read(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str) -> io.BytesIO:
    """One member's bytes, once its sizes are found to be honest."""
    if name not in members:
        raise ValueError(f"it has no {name}")
    member = members[name]
    if member.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed by method {member.compress_type}, and Keras stores it")
    end = archive.fp.seek(0, 2) if archive.fp is not None else 0
    declared, stored = member.file_size, min(member.compress_size, end)  # what it claims, and what there can be
    if name == _CONFIG and declared > _MOST_CONFIG:
        raise ValueError(f"{name} has {readable(declared)}, over {readable(_MOST_CONFIG)}")
    if declared > stored + _MOST_MORE:
        raise ValueError(f"{name} would have {readable(declared)}, and {readable(stored)} are stored")
    found = io.BytesIO()
    found.seek(max(declared - 1, 0))
    found.write(bytes(min(declared, 1)))  # all of its memory at once: what grows takes more
    found.seek(0)
    with archive.open(member) as file:
        shutil.copyfileobj(file, found, _PIECE)
    if found.tell() != declared:
        raise ValueError(f"{name} has {found.tell()} bytes, and should have {declared}")
    return found


def _refuse_hdf5(head: str, path: Path) -> None:
    if path.name.endswith(".weights.h5"):
        problem = "it holds weights without the model's layers."
        lines = [f'model.load_weights("{path.name}")', 'model.save("model.keras")']
    else:
        problem = "it is a file of the old .h5 format, which may hold code."
        lines = [f'model = keras.models.load_model("{path.name}")', 'model.save("model.keras")']
    raise ValueError(explain(head, problem, "Convert it with Keras, if you trust it:", *lines))
