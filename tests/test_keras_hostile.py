"""`.keras` files that are damaged, or made to do harm: one clear error, little memory, nothing executed."""

from __future__ import annotations

import inspect
import io
import os
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
from keras_files import CONFIG, SEQUENTIAL, WEIGHTS, changed, golden, members, write

from numrnn.interop.keras_import import from_keras

STORED = "gru_reset_before"
"""A file as Keras wrote it, whose members are not packed."""

MIB = 2**20


def refused(path: Path) -> str:
    """The text of the one error that a bad file may raise."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is the result)
        from_keras(path)
    assert type(caught.value) is ValueError
    text = str(caught.value)
    assert text.startswith(f"from_keras({str(path)!r}): ")
    assert len(text.encode()) < 2000
    return text


def load_or_refuse(path: Path) -> bool:
    """Whether a damaged file loads; the error is ours if it does not."""
    found = None
    try:
        from_keras(path)
    except Exception as error:
        found = error
    assert found is None or type(found) is ValueError
    assert found is None or str(found).encode().startswith(b"from_keras(")  # it can be printed
    return found is None


def test_truncated_files_are_refused(tmp_path):
    data = golden(STORED).read_bytes()
    path = tmp_path / "x.keras"
    for length in [0, 1, 21, 22, *range(100, len(data), 500), len(data) - 1]:
        path.write_bytes(data[:length])
        refused(path)
    weights = members(STORED)[WEIGHTS]
    for length in [0, 8, 95, *range(100, len(weights) - 1, 500)]:
        refused(write(path, members(STORED) | {WEIGHTS: weights[:length]}))


@pytest.mark.parametrize("what", ["archive", CONFIG, WEIGHTS])
def test_files_with_random_bytes_changed_load_or_are_refused(what, tmp_path, rng):
    """1000 in all. Where a member is changed its check sum is right, so that what reads the member is tried."""
    path = tmp_path / "x.keras"
    whole, parts = golden(STORED).read_bytes(), members(STORED)
    loaded = 0
    for _ in range(300 if what == "archive" else 350):
        data = bytearray(whole if what == "archive" else parts[what])
        for _ in range(rng.choice([1, 1, 2, 8])):
            data[rng.integers(len(data))] = rng.integers(256)
        if what == "archive":
            path.write_bytes(data)
        else:
            write(path, parts | {what: bytes(data)})
        started = time.perf_counter()
        loaded += load_or_refuse(path)
        assert time.perf_counter() - started < 5
    assert 0 < loaded < 350


@cache
def bomb(name: str, n_bytes: int) -> bytes:
    """A file whose member `name` unpacks to so many zeros."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for each, content in members(SEQUENTIAL).items():
            archive.writestr(each, bytes(n_bytes) if each == name else content)
    return data.getvalue()


def deflated(path: Path, name: str, n_bytes: int) -> Path:
    path.write_bytes(bomb(name, n_bytes))
    return path


def partly_random(path: Path) -> Path:
    """9 times what is stored: 5 MiB that no packing makes smaller, and 40 MiB of zeros."""
    content = np.random.default_rng(0).bytes(5 * MIB) + bytes(40 * MIB)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(CONFIG, members(SEQUENTIAL)[CONFIG])
        archive.writestr(WEIGHTS, content)
    return path


def lying(path: Path) -> Path:
    """A member that says it is small, and is not: its sizes are changed in both places where they stand."""
    deflated(path, WEIGHTS, 64 * MIB)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 64 * MIB), struct.pack("<I", 1000)))
    return path


def crowded(path: Path) -> Path:
    """A list of members of 2 MiB."""
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(2 * MIB // 60_000):
            archive.writestr(f"{k}".zfill(60_000), b"")
    return path


def doubled(path: Path) -> Path:
    write(path, {CONFIG: b"{}"})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(CONFIG, b"{}")
    return path


def encrypted(path: Path) -> Path:
    """The flag in the list of members and in front of the member."""
    write(path, {CONFIG: b"{}"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


def with_config(text: bytes) -> Callable[[Path], Path]:
    return lambda path: write(path, members(SEQUENTIAL) | {CONFIG: text})


ARCHIVES = {
    "no archive": (lambda path: path.write_bytes(bytes(1000)) and path, "it cannot be read as a .keras file: File is"),
    "an empty archive": (lambda path: write(path, {}), "it has no config.json"),
    "no weights": (lambda path: write(path, {CONFIG: b"{}"}), "it has no model.weights.h5"),
    "weights that unpack to 256 MiB": (
        lambda path: deflated(path, WEIGHTS, 256 * MIB),
        "model.weights.h5 would have 256.0 MiB, and 1.1 MiB are stored",
    ),
    "weights that unpack to 9 times of much": (partly_random, "would have 45.0 MiB, and 5.2 MiB are stored"),
    "weights that unpack to as much as is allowed": (
        lambda path: deflated(path, WEIGHTS, 32 * MIB),
        "its model.weights.h5 cannot be read",
    ),
    "a configuration that unpacks to 64 MiB": (
        lambda path: deflated(path, CONFIG, 64 * MIB),
        "config.json has 64.0 MiB, over 2.0 MiB",
    ),
    "a member that lies about its size": (lying, "Bad CRC-32 for file 'model.weights.h5'"),
    "a long list of members": (crowded, "its list of members has over 1.0 MiB"),
    "a member twice": (doubled, "it has two members 'config.json'"),
    "a way out": (lambda path: write(path, {"../x": b""}), "it has a member that points out of it, '../x'"),
    "an absolute way": (lambda path: write(path, {"/etc/x": b""}), "it has a member that points out of it, '/etc/x'"),
    "a way out by backslash": (lambda path: write(path, {"..\\x": b""}), "it has a member that points out of it"),
    "an encrypted member": (encrypted, "config.json is encrypted"),
    "another packing": (
        lambda path: write(path, members(SEQUENTIAL), zipfile.ZIP_BZIP2),
        "config.json is packed by method 12, and Keras stores it",
    ),
    "no json": (with_config(b"layers:"), "it cannot be read as a .keras file: Expecting value: line 1 column 1"),
    "no text": (with_config(b'{"a": "\xff\xfe"}'), "it cannot be read as a .keras file: invalid start byte"),
    "no object": (with_config(b"[1]"), "config.json holds no object, but a list"),
    "deep nesting": (with_config(b"[" * MIB), "it cannot be read as a .keras file: maximum recursion depth"),
    "a number of a million digits": (with_config(b'{"a": ' + b"9" * MIB + b"}"), "it cannot be read as a .keras file"),
    "no class": (with_config(b"{}"), "the model's class is None of None, expected Sequential or Functional"),
    "a name of a megabyte": (
        with_config(b'{"module": "' + b"x" * MIB + b'"}'),
        "of 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..., expected",
    ),
    "half a character": (with_config(b'{"class_name": "\\ud800"}'), "the model's class is '\\ud800' of None, expected"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_hostile_archives_are_refused(case, tmp_path):
    make, text = ARCHIVES[case]
    assert text in refused(make(tmp_path / "x.keras"))


def test_values_nested_too_deeply_to_be_shown_are_refused(tmp_path):
    depth = sys.getrecursionlimit() - 60 - len(inspect.stack())
    deep = "[" * depth + "]" * depth
    path = write(
        tmp_path / "x.keras", members(SEQUENTIAL) | {CONFIG: f'{{"class_name": {deep}, "config": {{}}}}'.encode()}
    )
    refused(path)


def without_limit(file: h5py.File, name: str, shape: tuple[int, ...], **options: object) -> None:
    """An array that is declared and never written."""
    del file[name]
    file.create_dataset(name, shape, "f4", **options)


def external(file: h5py.File) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (3, 12), "f4", external=[("/etc/passwd", 0, 144)])


def virtual(file: h5py.File) -> None:
    del file[KERNEL]
    layout = h5py.VirtualLayout((3, 12), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 12))
    file.create_virtual_dataset(KERNEL, layout)


def replaced(value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[KERNEL]
        file[KERNEL] = value

    return change


def crowd(file: h5py.File) -> None:
    for k in range(2000):
        file["layers"][f"x{k}"] = file["layers/gru"]


def again(file: h5py.File) -> None:
    whole = np.zeros(500, np.float32)
    file["layers/big"] = whole
    for k in range(100):
        file[f"layers/big{k}"] = file["layers/big"]


KERNEL = "layers/gru/cell/vars/0"
PLACE = "'gru/cell/vars/0'"

STORES = {
    "no layers": (lambda file: file.__delitem__("layers"), "it has no group `layers`"),
    "layers that are an array": (
        lambda file: (file.__delitem__("layers"), file.__setitem__("layers", np.zeros(3))),
        "layers is no group",
    ),
    "a soft link": (replaced(h5py.SoftLink("/vars")), f"{PLACE} is a link (SoftLink), and links are not followed"),
    "an external link": (
        replaced(h5py.ExternalLink("/etc/passwd", "/x")),
        f"{PLACE} is a link (ExternalLink), and links are not followed",
    ),
    "a linked root": (
        lambda file: (file.move("layers", "other"), file.__setitem__("layers", h5py.SoftLink("/other"))),
        "layers is a link (SoftLink), and links are not followed",
    ),
    "numbers in another file": (external, f"{PLACE} has its numbers in another file"),
    "a virtual array": (virtual, f"{PLACE} is stored in pieces or virtual, and Keras stores arrays in one piece"),
    "an array of a terabyte, packed": (
        lambda file: without_limit(file, KERNEL, (2**19, 2**19), chunks=(1024, 1024), compression="gzip"),
        f"{PLACE} is stored in pieces or virtual",
    ),
    "an array of a terabyte, not stored": (
        lambda file: without_limit(file, KERNEL, (2**19, 2**19)),
        f"{PLACE} (524288, 524288) would have 1.0 TiB, and 0 bytes are stored",
    ),
    "one array under many names": (again, "would have more bytes than the file"),
    "a group in itself": (
        lambda file: file["layers/gru"].__setitem__("again", file["layers"]),
        "groups are nested deeper than 8",
    ),
    "thousands of groups": (crowd, "it has over 2000 groups and arrays"),
    "a type as an array": (replaced(np.dtype("f4")), f"{PLACE} is neither a group nor an array"),
    "whole numbers": (
        replaced(np.zeros((3, 12), np.int8)),
        f"{PLACE} holds int8, expected float16, float32 or float64",
    ),
    "text": (replaced("weights"), f"{PLACE} holds object, expected float16, float32 or float64"),
    "complex numbers": (replaced(np.zeros((3, 12), np.complex64)), f"{PLACE} holds complex64, expected float16"),
    "nothing": (replaced(h5py.Empty("f4")), f"{PLACE} holds nothing"),
}


@pytest.mark.parametrize("case", STORES)
def test_hostile_weights_are_refused(case, tmp_path):
    change, text = STORES[case]
    assert text in refused(changed(tmp_path / "x.keras", STORED, weights=change))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("old.h5", "it is a file of the old .h5 format, which may hold code."),
        ("model.weights.h5", "it holds weights without the model's layers."),
    ],
)
def test_files_of_hdf5_are_refused_with_the_lines_that_convert_them(name, text, tmp_path):
    path = tmp_path / name
    path.write_bytes(members(SEQUENTIAL)[WEIGHTS])
    message = refused(path)
    assert text in message
    assert message.endswith('\n  model.save("model.keras")')
    assert f'("{name}")\n' in message


def test_nothing_that_a_file_names_is_imported(tmp_path, monkeypatch):
    """A module on the path, named wherever Keras names one."""
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    text = members(SEQUENTIAL)[CONFIG].decode()
    for before in ('"keras.layers"', '"keras.initializers"', '"keras"', '"DTypePolicy"'):
        path = write(tmp_path / "x.keras", members(SEQUENTIAL) | {CONFIG: text.replace(before, '"trap"').encode()})
        load_or_refuse(path)
    assert "trap" not in sys.modules


def test_hostile_files_take_little_memory(tmp_path):
    """All of them after each other in one process: no more than 64 MiB above what a good file takes."""
    good = golden(STORED)
    paths = [make(tmp_path / f"a{k}.keras") for k, (make, _) in enumerate(ARCHIVES.values())]
    paths += [
        changed(tmp_path / f"w{k}.keras", STORED, weights=change) for k, (change, _) in enumerate(STORES.values())
    ]
    code = """
import resource, sys
from numrnn.interop.keras_import import from_keras
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
good, *bad = sys.argv[1:]
from_keras(good)
before = peak()
for path in bad:
    try:
        from_keras(path)
    except ValueError:
        continue
    raise SystemExit(f"{path} was loaded")
print((peak() - before) / 1024)
"""
    arguments = [sys.executable, "-c", code, str(good), *map(str, paths)]
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False, env=dict(os.environ), timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert float(finished.stdout) < 64
