"""F: files that others wrote, by mistake or on purpose."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import numrnn

from .rows import CannotRunError, row, shown_by

_TORCH, _SAVING = "tests/test_from_torch.py::test_", "tests/test_saving.py::test_"
_ONNX, _KERAS = "tests/test_onnx_hostile.py::test_", "tests/test_keras_hostile.py::test_"

shown_by(
    "F-01",
    "malformed safetensors",
    _TORCH + "a_hostile_file_is_one_value_error",
    _TORCH + "a_header_takes_little_memory",
    _TORCH + "very_many_names_are_refused_unread",
    _SAVING + "files_that_say_nonsense_are_refused",
    _SAVING + "a_header_that_claims_to_be_long_is_refused",
    _SAVING + "a_header_that_is_no_header_is_refused",
)
shown_by(
    "F-02",
    "pickles and .npz are refused with the lines that convert them",
    _TORCH + "pickles_are_never_read",
    _TORCH + "a_pickles_suffix_is_enough",
    _TORCH + "an_npz_is_refused_with_the_line_that_reads_it",
)
shown_by(
    "F-03",
    "ONNX: external data, bombs, operators and attributes that are not supported",
    _ONNX + "numbers_in_other_files_are_not_read",
    _ONNX + "numbers_of_attributes_in_other_files_are_not_read",
    _ONNX + "files_of_a_bounded_size_are_opened",
    _ONNX + "bombs_are_refused_at_once",
    _ONNX + "bombs_take_no_memory",
    "tests/test_onnx_refusals.py",
    "tests/test_onnx_backend.py::test_what_the_specification_does_not_have_is_refused",
    optional=True,
)
shown_by(
    "F-04",
    ".keras and .h5: Lambda, foreign classes, links, bombs",
    _KERAS + "hostile_archives_are_refused",
    _KERAS + "hostile_weights_are_refused",
    _KERAS + "files_of_hdf5_are_refused_with_the_lines_that_convert_them",
    _KERAS + "nothing_that_a_file_names_is_imported",
    _KERAS + "hostile_files_take_little_memory",
    optional=True,
)


@row("F-05", "kill -9 while a file is saved, 50 rounds", seconds=600)
def killed_while_saving() -> None:
    from test_saving import save_and_kill

    with tempfile.TemporaryDirectory() as folder:
        save_and_kill(Path(folder), np.random.default_rng(5).uniform(0.0, 0.03, 50))


shown_by(
    "F-06",
    "a file from the future, and one of the first version",
    _SAVING + "files_that_say_nonsense_are_refused",
    _SAVING + "a_file_of_the_first_version_loads_for_ever",
)
shown_by(
    "F-07",
    "sizes that no file has",
    _SAVING + "files_that_say_nonsense_are_refused",
    _SAVING + "an_axis_without_numbers_does_not_allow_large_weights",
)


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """One byte, or a few, are others."""
    changed = np.frombuffer(data, np.uint8).copy()
    for at in rng.integers(0, len(changed), rng.choice([1, 1, 2, 8])):
        changed[at] ^= rng.integers(1, 256, dtype=np.uint8)
    return changed.tobytes()


@row("F-08", "10,000 files of each format with bytes changed at random", optional=True, seconds=3600)
def fuzzed_files() -> None:
    import h5py
    from test_keras_hostile import STORED, golden

    del h5py
    readers: dict[str, Callable[[Any], Any]] = {
        "model.safetensors": numrnn.load,
        "weights.safetensors": numrnn.from_torch,
        "model.keras": numrnn.from_keras,
        "model.onnx": numrnn.from_onnx,
    }
    with tempfile.TemporaryDirectory() as folder:
        model = numrnn.SequenceModel(numrnn.GRU(2, 3, seed=0), numrnn.Linear(3, 1, seed=1))
        paths = {name: Path(folder, name) for name in readers}
        numrnn.save(model, paths["model.safetensors"])
        import safetensors.numpy

        safetensors.numpy.save_file(dict(model.recurrent.parameters), paths["weights.safetensors"])
        paths["model.keras"].write_bytes(golden(STORED).read_bytes())
        try:
            numrnn.to_onnx(numrnn.GRU(2, 3, seed=0), paths["model.onnx"])
        except ImportError as error:
            raise CannotRunError("onnx is not installed") from error
        rng = np.random.default_rng(8)
        for name, read in readers.items():
            path, refused = paths[name], 0
            whole = path.read_bytes()
            read(path)
            for _ in range(10_000):
                data = _flipped(whole, rng)
                path.write_bytes(data)
                start = time.perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        read(path)
                    except (ValueError, NotImplementedError):
                        refused += 1
                    except BaseException as error:
                        raise AssertionError(f"{name}: {error!r} of {data.hex()[:2000]}") from error
                assert time.perf_counter() - start < 10, f"{name}: slow"
            assert refused > 0, f"{name}: nothing was refused"


shown_by(
    "F-09",
    "weights there and back: the same bits",
    _SAVING + "bits_come_back",
    _TORCH + "names_and_shapes_tell_the_layer",
    _TORCH + "what_safetensors_writes_is_read_bit_for_bit",
)
