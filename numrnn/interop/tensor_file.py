"""A safetensors file read as data: every byte of it is accounted for before memory is taken.

The format is that of https://github.com/huggingface/safetensors: 8 bytes of length, a header in JSON, the arrays. The
library takes files too whose header names an array twice, takes half a minute and a gigabyte for a header of a million
names, and has no bfloat16 for NumPy.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Mapping
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain

__all__ = ["Entry", "read_entries", "read_tensors"]

_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "F8_E4M3": "u1",
    "F8_E5M2": "u1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "BF16": "<u2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
    "C64": "<c8",
}
_READABLE = ("F16", "BF16", "F32", "F64")
_LARGEST_HEADER = 1 << 20  # bytes: some 10,000 arrays; to parse one takes up to 25 times its size


class Entry(NamedTuple):
    """One array of a file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int  # in bytes from the begin of the file
    end: int


def read_entries(head: str, path: str | os.PathLike[str]) -> tuple[dict[str, Entry], dict[str, str]]:
    """The arrays that a file holds, and its notes, by name.

    Raises ValueError where anything in the file is wrong, OSError where it cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            return _entries(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(explain(head, f"it is no safetensors file: {error}.")) from error


def read_tensors(
    head: str, path: str | os.PathLike[str], entries: Mapping[str, Entry], names: Collection[str]
) -> dict[str, NDArray[Any]]:
    """Read some arrays of real numbers; bfloat16, which NumPy does not have, as float32.

    Raises ValueError for an array of another kind.
    """
    tensors = {}
    with open(path, "rb") as file:
        for name in names:
            dtype, shape, begin, end = entries[name]
            if dtype not in _READABLE:
                raise ValueError(explain(head, f"`{name}` is {dtype}, expected one of {', '.join(_READABLE)}."))
            file.seek(begin)
            flat = np.fromfile(file, _DTYPES[dtype], math.prod(shape))
            if flat.nbytes != end - begin:
                raise ValueError(explain(head, "the file became shorter while it was read."))
            if dtype == "BF16":
                flat = (flat.astype(np.uint32) << 16).view(np.float32)
            tensors[name] = flat.reshape(shape)
    return tensors


def _entries(file: BinaryIO) -> tuple[dict[str, Entry], dict[str, str]]:
    size = os.fstat(file.fileno()).st_size
    begin = file.read(8)
    if len(begin) < 8:
        raise ValueError(f"it has {size} bytes, fewer than the length of a header")
    length = int.from_bytes(begin, "little")
    if length > size - 8:
        raise ValueError(f"its header should have {length} bytes, and {size - 8} follow")
    if length > _LARGEST_HEADER:
        raise ValueError(f"its header has {length} bytes, and at most {_LARGEST_HEADER} are read")
    text = file.read(length)
    if not text.startswith(b"{"):
        raise ValueError("its header does not begin with {")
    header = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(value, str) for value in notes.values()):
        raise ValueError("`__metadata__` should hold texts by name")
    entries = {name: _entry(name, value, 8 + length) for name, value in header.items()}
    at = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != at:
            raise ValueError(f"`{name}` begins at byte {entry.begin}, and the array before it ends at {at}")
        at = entry.end
    if at != size:
        raise ValueError(f"its arrays end at byte {at}, and the file at {size}")
    return entries, notes


def _entry(name: str, value: object, offset: int) -> Entry:
    """Check the description of one array; places are counted from the begin of the file."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"`{name}` should have dtype, shape and data_offsets, and nothing else")
    dtype, shape, places = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"`{name}` has the unknown dtype {dtype!r:.40}")
    if not _are_sizes(shape) or not _are_sizes(places) or len(places) != 2:
        raise ValueError(f"`{name}`: shape and data_offsets should be lists of integers of 0 or more, the latter two")
    if math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize != places[1] - places[0]:
        raise ValueError(f"`{name}` is {dtype} of shape {shape!s:.80}, and has {places[1] - places[0]} bytes")
    return Entry(dtype, tuple(shape), offset + places[0], offset + places[1])


def _are_sizes(values: object) -> bool:
    """A few integers that a size may be; not more, or their product would take long."""
    return (
        isinstance(values, list)
        and len(values) <= 32
        and all(type(value) is int and 0 <= value < 2**63 for value in values)
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"`{name:.80}` stands in it twice")
        found[name] = value
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
