"""The one gateway to Numba: options, the disk cache, and the tags that choose a cell when a kernel is compiled.

Every kernel is made by `kernel` (serial) or `parallel_kernel` (a thin `prange` over a serial one). No fast-math: the
vectors carry explicit FMA, and NaN and Inf keep their meaning. The cache is on by default and can only cost a
recompilation: its folder is named by a digest of all kernel files and versions, and whatever goes wrong with a file
is answered by compiling.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any, NoReturn

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba import njit, prange, types
from numba.core.codegen import get_host_cpu_features
from numba.core.cpu import CPUTargetOptions
from numba.core.errors import TypingError
from numba.core.imputils import lower_constant, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import models, overload, register_model, typeof_impl

from numrnn._interrupts import interrupts_kept

__all__ = [
    "DISABLED",
    "CellTag",
    "CompileError",
    "array_types",
    "describe",
    "digest",
    "entry_kernel",
    "entry_of_cell",
    "float_type",
    "implements",
    "inlined_kernel",
    "int64",
    "integer_type",
    "is_cached",
    "kernel",
    "parallel_kernel",
    "prange",
    "refuse",
    "tuple_class",
]

DISABLED = bool(numba.config.DISABLE_JIT)

CompileError = numba.core.errors.NumbaError

# Numba counts a parallel loop in uint64: cast, or the body is compiled once for each type.
int64 = np.int64

# What is not said here, a kernel would take over from the function of a user's for which it is first compiled.
_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "nogil": True,
    "fastmath": False,
    "forceinline": False,
}
# Serial kernels own no memory: they need not count who does, which costs a small step as much as its sums.
_SERIAL = _OPTIONS | ({"_nrt": False} if hasattr(CPUTargetOptions, "_nrt") else {})
# In the caller's code: a call would hand on an array as seven numbers, through memory.
_INLINED = _SERIAL | {"forceinline": True}


@lru_cache(maxsize=1)
def digest() -> str:
    """Digest of everything that a compiled kernel depends on: the kernels' sources, versions, the processor."""
    package = Path(__file__).parent
    sources = [package / "__init__.py", package / "_jit.py", *sorted((package / "kernels").glob("*.py"))]
    if not package.is_dir():  # in a zip file
        sources = [path for path in package.parents if path.is_file()]
    found = hashlib.sha256()
    for path in sources:
        found.update(path.name.encode())
        found.update(path.read_bytes())
    processor = (numba.config.CPU_NAME, numba.config.CPU_FEATURES, get_host_cpu_features(), llvm.get_host_cpu_name())
    for part in (numba.__version__, llvmlite.__version__, np.__version__, sys.version, *processor, DISABLED):
        found.update(str(part).encode())
    return found.hexdigest()[:16]


def _candidate_folders() -> list[Path]:
    """Folders for the cache, the user's wish first."""
    named = [os.environ.get(name) for name in ("NUMRNN_CACHE_DIR", "NUMBA_CACHE_DIR")]
    folders = [Path(name, "numrnn" if i else "").absolute() for i, name in enumerate(named) if name]
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if base and not base.startswith("~"):
        folders.append(Path(base) / "numrnn")
    return folders


def _private(folder: Path) -> bool:
    """Whether nobody else can put files there: compiled code is run as it is found."""
    if os.name != "posix":
        return True
    status = folder.stat()
    return status.st_uid == os.getuid() and status.st_mode & 0o022 == 0


@lru_cache(maxsize=1)
def cache_folder() -> Path | None:
    """The first folder that can be written, made private to the user; None means: compile in memory."""
    name = digest()
    for folder in _candidate_folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            chosen = folder / name
            chosen.mkdir(mode=0o700, exist_ok=True)
            if not _private(chosen):
                continue
            with tempfile.TemporaryFile(dir=chosen):
                pass
        except OSError:
            continue
        return chosen
    return None


def _make_cache_type() -> Any:
    """Numba's function cache with our folder and stamp, and with every failure answered by a recompilation.

    It leans on private names of Numba. If one is gone there is no disk cache, one warning, and nothing else changes.
    """
    try:
        from numba.core import caching
        from numba.core.serialize import dumps

        locator_base, implementation_base, cache_base = (
            caching._CacheLocator,
            caching.CompileResultCacheImpl,
            caching.FunctionCache,
        )
    except (ImportError, AttributeError) as error:
        warnings.warn(f"numrnn keeps no compiled kernels on disk: numba {numba.__version__}: {error}", stacklevel=2)
        return None

    class Locator(locator_base):  # type: ignore[misc, valid-type]
        """Where the compiled code of one kernel lies, and what makes it stale."""

        def __init__(self, function: Any, _file: str) -> None:
            self._name = f"{function.__module__}.{function.__qualname__}"

        def get_cache_path(self) -> str:
            return str(cache_folder())

        def get_source_stamp(self) -> str:
            return Path(self.get_cache_path()).name

        def get_disambiguator(self) -> str:
            return hashlib.sha256(self._name.encode()).hexdigest()[:8]

        @classmethod
        def from_function(cls, function: Any, file: str) -> Any:
            return cls(function, file)

    class Implementation(implementation_base):  # type: ignore[misc, valid-type]
        _locator_classes = [Locator]

        def reduce(self, data: Any) -> Any:
            """Seal the data: what a machine code's damage would do is not for finding out."""
            sealed = dumps(super().reduce(data))
            return hashlib.sha256(sealed).digest(), sealed

        def rebuild(self, target_context: Any, payload: Any) -> Any:
            digest, sealed = payload
            if hashlib.sha256(sealed).digest() != digest:
                raise ValueError("damaged")
            return super().rebuild(target_context, pickle.loads(sealed))

    class HarmlessCache(cache_base):  # type: ignore[misc, valid-type]
        _impl_class = Implementation

        def load_overload(self, signature: Any, target_context: Any) -> Any:
            try:
                found = super().load_overload(signature, target_context)
                if found is None or tuple(found.signature.args) == tuple(signature):
                    return found
            except Exception:  # truncated, damaged or foreign files
                pass
            self._forget()  # also where two processes raced, and an index points at the other's data
            return None

        def save_overload(self, signature: Any, data: Any) -> None:
            try:
                super().save_overload(signature, data)
            except Exception:
                self._forget()
                try:
                    super().save_overload(signature, data)
                except Exception:  # a full or read-only disk
                    return

        def _forget(self) -> None:
            try:
                self.flush()
            except Exception:
                return

    return HarmlessCache


_cache_type: Any = None if DISABLED else _make_cache_type()


def _entry(dispatcher: Any, function: Any, *, on_disk: bool = True) -> Any:
    """What Python calls: with our cache, and Ctrl-C that is heard while it is compiled."""
    if DISABLED:
        return dispatcher
    if on_disk and _cache_type is not None and cache_folder() is not None:
        try:
            dispatcher._cache = _cache_type(function)
        except Exception as error:
            warnings.warn(f"numrnn keeps no compiled kernels on disk: {error}", stacklevel=2)
    compile_for_args = getattr(dispatcher, "_compile_for_args", None)
    if compile_for_args is None:  # a private name of Numba's: without it Ctrl-C may be dropped
        return dispatcher

    def interruptible(*arguments: Any, **named: Any) -> Any:
        with interrupts_kept():
            return compile_for_args(*arguments, **named)

    dispatcher._compile_for_args = interruptible
    return dispatcher


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` when it is first called, for kernels that other kernels call."""
    return njit(**_SERIAL)(function)


def inlined_kernel(function: Callable[..., Any]) -> Any:
    """`kernel`, for those that are too small to be called: their code stands in the caller's."""
    return njit(**_INLINED)(function)


def entry_kernel(function: Callable[..., Any]) -> Any:
    """`kernel`, for those that Python calls: kept on disk."""
    return _entry(njit(**_SERIAL)(function), function)


def parallel_kernel(function: Callable[..., Any]) -> Any:
    """The parallel twin of an entry kernel: its body is one `prange` over a plain kernel."""
    return _entry(njit(parallel=True, **_OPTIONS)(function), function)


def entry_of_cell(template: Callable[..., Any], tag: CellTag, *, parallel: bool, on_disk: bool) -> Any:
    """An entry kernel of a cell that is not the package's: the template's code with `CELL` meaning `tag`.

    Its name holds the tag's, by which the disk cache tells it from others.
    """
    function = FunctionType(template.__code__, {**template.__globals__, "CELL": tag}, f"{tag.name}_{template.__name__}")
    function.__qualname__, function.__module__ = function.__name__, template.__module__
    dispatcher = njit(parallel=parallel, **(_OPTIONS if parallel else _SERIAL))(function)
    return _entry(dispatcher, function, on_disk=on_disk)


def is_cached(dispatcher: Any) -> bool:
    """Whether a kernel is compiled in this process, or lies on disk."""
    if DISABLED or dispatcher.signatures:
        return True
    folder = cache_folder()
    return folder is not None and any(folder.glob(f"*.{dispatcher.py_func.__qualname__}-*.nbi"))


def implements(stub: Callable[..., Any], *, allocates: bool = False) -> Any:
    """Give a plain function its code inside kernels, chosen by the types of its arguments.

    Decorates a function that takes the same arguments as types and returns the implementation, or None where it has
    none.
    """
    return overload(stub, jit_options=_OPTIONS if allocates else _INLINED, strict=False)


def refuse(text: str) -> NoReturn:
    """Stop the compilation of a user's function with `text`."""
    raise TypingError(text)


def tuple_class(type_: Any) -> Any:
    """The class of a named tuple's type; None for other types."""
    return getattr(type_, "instance_class", None)


def array_types(*types_: Any, axes: int | None = None) -> bool:
    """Whether all types are of arrays of real numbers, with so many axes."""
    return all(
        isinstance(each, types.Array)
        and isinstance(each.dtype, types.Integer | types.Float | types.Boolean)
        and axes in (None, each.ndim)
        for each in types_
    )


def integer_type(type_: Any) -> bool:
    """Whether a type is one of integers."""
    return isinstance(type_, types.Integer)


def float_type(type_: Any) -> bool:
    """Whether a type is a float that compiled code computes with."""
    return type_ in (types.float32, types.float64)


class CellTag:
    """A cell inside kernels: `cell.name(...)` calls its kernel of that name, chosen when the caller is compiled.

    Nothing is branched on while a kernel runs, and a kernel that is compiled for one cell compiles no other. An integer
    is a literal there. Tags are told apart by their names.
    """

    def __init__(self, name: str, **members: Any) -> None:
        self.name = name
        self.members = members


class _CellTagType(types.Type):
    def __init__(self, tag: CellTag) -> None:
        self.members = tag.members
        super().__init__(name=f"CellTag({tag.name})")


register_model(_CellTagType)(models.OpaqueModel)


@typeof_impl.register(CellTag)
def _type_of_tag(tag: CellTag, _context: Any) -> _CellTagType:
    return _CellTagType(tag)


@infer_getattr
class _CellTagAttributes(AttributeTemplate):
    key = _CellTagType

    def generic_resolve(self, tag: _CellTagType, name: str) -> Any:
        member = tag.members.get(name)
        if member is None:
            return None
        return types.literal(member) if isinstance(member, int) else types.Dispatcher(member)


@lower_getattr_generic(_CellTagType)
def _lower_member(context: Any, _builder: Any, tag: Any, _value: Any, name: str) -> Any:
    member = tag.members[name]
    return context.get_constant(types.intp, member) if isinstance(member, int) else context.get_dummy_value()


@lower_constant(_CellTagType)
def _lower_tag(context: Any, _builder: Any, _type: Any, _value: Any) -> Any:
    return context.get_dummy_value()


def describe() -> dict[str, Any]:
    """What Numba compiles for and where compiled kernels lie; for `numrnn.info`."""
    folder = cache_folder()
    return {
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "jit": "off (NUMBA_DISABLE_JIT): calls run the NumPy reference" if DISABLED else "on",
        "cpu": numba.config.CPU_NAME or llvm.get_host_cpu_name(),
        "threading_layer": _threading_layer(),
        "num_threads_limit": int(numba.config.NUMBA_NUM_THREADS),
        "cache_folder": str(folder) if folder else "none: no folder can be written, kernels are compiled in memory",
    }


def _threading_layer() -> str:
    """The layer in use, or the one asked for while no parallel kernel has run."""
    try:
        return str(numba.threading_layer())
    except ValueError:
        return f"{numba.config.THREADING_LAYER} (not started)"
