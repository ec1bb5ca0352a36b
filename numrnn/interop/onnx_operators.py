"""The operators that move numbers about: on constants they are done, on tensors they are followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from numrnn.interop.onnx_node import Node
from numrnn.interop.onnx_values import FEATURES, PIECES, Dim, Group, Tensor, Value, Zeros

__all__ = ["MOVES"]

_Allow: TypeAlias = Callable[[int, Node], None]
"""Raises if a constant of so many numbers would be more than the file can mean."""
_ALL = 2**31 - 1


def _integers(node: Node, value: Value | None, what: str) -> list[int]:
    """Read an input that must be constant integers."""
    if not isinstance(value, np.ndarray) or not all(isinstance(each, int | np.integer) for each in value.reshape(-1)):
        raise node.refusal(f"its {what} are not constant integers.")
    return [int(each) for each in value.reshape(-1)]


def _transpose(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    value, order = values[0], node.integers("perm")
    rank = _rank(value)
    order = list(range(rank))[::-1] if order is None else order
    if sorted(order) != list(range(rank)):
        raise node.refusal(f"its attribute `perm` is {order}, no order of {rank} axes.")
    if isinstance(value, Tensor):
        return [value.with_axes([value.axes[axis] for axis in order])]
    assert isinstance(value, np.ndarray)
    return [value.transpose(order)]


def _squeeze(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    value = values[0]
    axes = _axes(node, values)
    rank = _rank(value)
    if isinstance(value, Tensor):
        dims = [value.dim(group) for group in value.axes]
        axes = [axis for axis, dim in enumerate(dims) if dim == 1] if axes is None else axes
        gone = [_axis(node, axis, rank) for axis in axes]
        if any(value.axes[axis] for axis in gone):
            names = ", ".join(str(axis) for axis in gone if value.axes[axis])
            raise node.refusal(f"it removes axis {names}, which is time, batch or features and not of one entry only.")
        return [value.with_axes([group for axis, group in enumerate(value.axes) if axis not in gone])]
    assert isinstance(value, np.ndarray)
    return [np.squeeze(value, None if axes is None else tuple(axes))]


def _unsqueeze(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    value, axes = values[0], _axes(node, values)
    if axes is None:
        raise node.refusal("it has no axes.")
    if isinstance(value, Tensor):
        rank = len(value.axes) + len(axes)
        added = {_axis(node, axis, rank) for axis in axes}
        kept = iter(value.axes)
        return [value.with_axes([() if axis in added else next(kept) for axis in range(rank)])]
    assert isinstance(value, np.ndarray)
    return [np.expand_dims(value, tuple(axes))]


def _reshape(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    value, target = values[0], values[1] if len(values) > 1 else None
    zero_is_zero = node.integer("allowzero", 0)
    if not isinstance(target, np.ndarray) or target.ndim != 1 or len(target) > 16:
        raise node.refusal("its shape is not known without running the graph.")
    wanted: list[Dim] = [each if isinstance(each, str) else int(each) for each in target]
    dims = [value.dim(group) for group in value.axes] if isinstance(value, Tensor) else list(np.shape(value))  # type: ignore[arg-type]
    if not zero_is_zero:
        wanted = [dims[k] if dim == 0 and k < len(dims) else dim for k, dim in enumerate(wanted)]
    if wanted.count(-1) > 1:
        raise node.refusal(f"its shape {wanted} has more than one -1.")
    if isinstance(value, Tensor):
        found = value.reshaped(wanted)
        if found is None:
            raise node.refusal(
                f"it makes {_shown(wanted)} of {_shown(dims)}, which cuts or merges axes in no known way."
            )
        return [found]
    assert isinstance(value, np.ndarray)
    allow(0 if value.flags.c_contiguous else value.size, node)
    return [value.reshape([int(dim) for dim in wanted])]


def _gather(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    value, indices = values[0], values[1]
    axis = _axis(node, node.integer("axis", 0), _rank(value))
    chosen = _integers(node, indices, "indices")
    assert isinstance(indices, np.ndarray)
    if isinstance(value, Tensor):
        if indices.ndim > 1:
            raise node.refusal(f"its indices have {indices.ndim} axes, and one is followed.")
        return [_chosen(node, value, axis, chosen, keep=indices.ndim == 1)]
    assert isinstance(value, np.ndarray)
    allow(value.size // max(value.shape[axis], 1) * len(chosen), node)
    return [np.asarray(np.take(value, indices.astype(np.int64), axis))]


def _slice(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    value = values[0]
    if node.opset < 10:
        parts = [node.integers("starts"), node.integers("ends"), node.integers("axes"), None]
    else:
        names = ("starts", "ends", "axes", "steps")
        given = [*values[1:], None, None, None, None][:4]
        parts = [None if each is None else _integers(node, each, name) for name, each in zip(names, given, strict=True)]
    starts, ends, axes, steps = parts
    if starts is None or ends is None or len(starts) != len(ends):
        raise node.refusal("its starts and ends do not fit.")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(axes) == len(steps) or 0 in steps:
        raise node.refusal("its starts, axes and steps do not fit.")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = _axis(node, axis, _rank(value))
        cut = slice(start, end, step)
        if isinstance(value, Tensor):
            value = _cut(node, value, axis, cut)
        else:
            assert isinstance(value, np.ndarray)
            value = value[(slice(None),) * axis + (cut,)]
    assert value is not None
    return [value]


def _split(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    value = values[0]
    axis = _axis(node, node.integer("axis", 0), _rank(value))
    number = len(node.outputs)
    if node.opset < 13:
        sizes = node.integers("split")
    else:
        sizes = _integers(node, values[1], "sizes") if len(values) > 1 and values[1] is not None else None
    if node.integer("num_outputs", number) != number:
        raise node.refusal(f"its attribute `num_outputs` is no {number}, the number of its outputs.")
    length = value.dim(value.axes[axis]) if isinstance(value, Tensor) else np.shape(value)[axis]  # type: ignore[arg-type]
    if not isinstance(length, int) or (sizes is None and length % number):
        raise node.refusal(f"it cuts an axis of {length} entries into {number} parts.")
    sizes = [length // number] * number if sizes is None else sizes
    if len(sizes) != number or sum(sizes) != length or min(sizes) < 0:
        raise node.refusal(f"it cuts an axis of {length} entries into {sizes}.")
    ends = np.cumsum(sizes).tolist()
    cuts = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    if isinstance(value, Tensor):
        return [_cut(node, value, axis, cut) for cut in cuts]
    assert isinstance(value, np.ndarray)
    return [value[(slice(None),) * axis + (cut,)] for cut in cuts]


def _concat(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    first = values[0]
    axis = _axis(node, node.integer("axis", 0), _rank(first))
    if all(isinstance(value, np.ndarray) for value in values):
        arrays = [value for value in values if isinstance(value, np.ndarray)]
        allow(sum(array.size for array in arrays), node)
        if any(array.dtype == object for array in arrays):
            arrays = [array.astype(object) for array in arrays]
        return [np.concatenate(arrays, axis)]
    tensors = [value for value in values if isinstance(value, Tensor)]
    if len(tensors) != len(values) or not isinstance(first, Tensor):
        raise node.refusal("it joins results of the graph with constants.")
    joined = first.axes[axis]
    for tensor in tensors:
        others = [group for k, group in enumerate(tensor.axes) if k != axis]
        same = others == [group for k, group in enumerate(first.axes) if k != axis] and tensor.size == first.size
        group = tensor.axes[axis] if len(tensor.axes) > axis else None
        if not same or group not in ((), (PIECES,), (FEATURES,), (PIECES, FEATURES)):
            raise node.refusal("it joins tensors that differ in their axes, or along an axis of time or batch.")
        if PIECES in {atom for other in others for atom in other} or (FEATURES in group) != (FEATURES in joined):
            raise node.refusal("it joins along one axis what is stacked along another.")
    pieces = [piece for tensor in tensors for piece in tensor.pieces]
    group = (PIECES, FEATURES) if FEATURES in joined else (PIECES,)
    axes = [group if k == axis else other for k, other in enumerate(first.axes)]
    return [first.with_pieces(pieces, axes)]


def _cast(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    kind, value = node.integer("to", 0), values[0]
    node.integer("saturate", 1)
    types = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}
    if isinstance(value, np.ndarray) and kind in types:
        allow(value.size, node)
        return [value if value.dtype == object else value.astype(types[kind])]
    raise node.refusal(f"it casts results of the graph, or to the element type {kind}.")


def _multiply(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    a, b = values[:2]
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray) or max(a.size, b.size) > 16:
        raise node.refusal("it multiplies, and no layer of numrnn does that here.")
    product = np.empty(np.broadcast_shapes(a.shape, b.shape), object)
    product[...] = np.frompyfunc(_times, 2, 1)(a.astype(object), b.astype(object))
    if all(isinstance(each, int) for each in product.reshape(-1)):
        return [product.astype(np.int64)]
    return [product]


def _times(a: Any, b: Any) -> Any:
    if isinstance(a, str) or isinstance(b, str):
        product: Any = a if b == 1 else b if a == 1 else f"{a}*{b}"
    else:
        product = int(a) * int(b)
    if len(str(product)) > 200:
        raise ValueError("it makes a size of more than 200 characters")
    return product


def _shape(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    value, start = values[0], node.integer("start", 0)
    end = node.integer("end", _ALL)
    if isinstance(value, Tensor):
        found = np.empty(len(value.axes), object)
        found[:] = [value.dim(group) for group in value.axes]
    elif isinstance(value, np.ndarray):
        found = np.array(value.shape, np.int64)
    else:
        raise node.refusal("it asks for the shape of initial states, which only a call knows.")
    return [found[start:end]]


def _filled(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    value = node.tensor("value")
    if value is not None and value.any():
        raise node.refusal(f"it makes constants of {value.reshape(-1)[0]}, and only zeros are read: initial states.")
    return [Zeros()]


def _expand(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    if isinstance(values[0], np.ndarray) and values[0].dtype != object and not values[0].any():
        return [Zeros()]
    raise node.refusal("it repeats numbers that are not zero; initial states are zero or inputs of the graph.")


def _pooled(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    """The mean or maximum over time; axes are an input since version 18."""
    value, keep = values[0], node.integer("keepdims", 1)
    node.integer("noop_with_empty_axes", 0)
    if node.opset < 18:
        axes = node.integers("axes")
    else:
        axes = _integers(node, values[1], "axes") if len(values) > 1 and values[1] is not None else None
    if not isinstance(value, Tensor) or axes is None or len(axes) != 1 or {p.kind for p in value.pieces} != {"step"}:
        raise node.refusal("it is not over the time of a recurrent node's steps.")
    axis = _axis(node, axes[0], len(value.axes))
    if value.axes[axis] != (value.time,):
        raise node.refusal("it is not over the time of a recurrent node's steps.")
    kind = "mean" if node.op == "ReduceMean" else "max"
    around = value.axes[:axis], value.axes[axis + 1 :]
    axes_left = [*around[0], *([()] if keep else []), *around[1]]
    return [value.with_pieces([piece._replace(kind=kind) for piece in value.pieces], axes_left)]


def _identity(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    assert values[0] is not None
    return [values[0]]


def _dropout(node: Node, values: Sequence[Value | None], allow: _Allow) -> list[Value]:
    node.real("ratio", 0.5)
    node.integer("seed", 0)
    training = values[2] if len(values) > 2 else None
    if training is not None and (not isinstance(training, np.ndarray) or training.any()):
        raise node.refusal("its input `training_mode` is not false.", "Export the model for inference.")
    if len([name for name in node.outputs if name]) > 1:
        raise node.refusal("its mask is used.", "Export the model for inference.")
    return _identity(node, values, allow)


MOVES: Mapping[str, Callable[[Node, Sequence[Value | None], _Allow], list[Value]]] = {
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "Dropout": _dropout,
    "Expand": _expand,
    "Gather": _gather,
    "Identity": _identity,
    "Mul": _multiply,
    "ReduceMax": _pooled,
    "ReduceMean": _pooled,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}


def _cut(node: Node, tensor: Tensor, axis: int, cut: slice) -> Tensor:
    """Some entries of an axis."""
    group = tensor.axes[axis]
    dim = tensor.dim(group)
    if (cut.start, cut.step) == (0, 1) and cut.stop >= (dim if isinstance(dim, int) else _ALL):
        return tensor
    if isinstance(dim, int):
        entries = range(*cut.indices(dim))
    elif (cut.start, cut.step) == (-1, 1) and cut.stop >= _ALL:
        entries = range(-1, 0)
    else:
        entries = range(*cut.indices(_ALL)) if cut.start >= 0 and cut.stop >= 0 else range(0)
    if group == (PIECES, FEATURES) or (group == (FEATURES,) and len(tensor.pieces) == 1):
        if entries.step != 1 or entries.start % tensor.size or entries.stop % tensor.size or not entries:
            raise node.refusal(f"it takes features {entries.start} to {entries.stop}, not those of whole directions.")
        pieces = tensor.pieces[entries.start // tensor.size : entries.stop // tensor.size]
        return tensor.with_pieces(pieces)
    if not 0 < len(entries) <= 2 * len(tensor.pieces) + 1:
        raise node.refusal(f"it takes entries {cut.start}:{cut.stop}:{cut.step} of axis {axis}, which is not followed.")
    return _chosen(node, tensor, axis, list(entries), keep=True)


def _chosen(node: Node, tensor: Tensor, axis: int, entries: list[int], *, keep: bool) -> Tensor:
    """Entries of an axis by number: pieces, or the first or last step."""
    group = tensor.axes[axis]
    kept: list[Group] = [()] if keep else []
    around = tensor.axes[:axis], tensor.axes[axis + 1 :]
    if group in ((), (PIECES,)):
        number = len(tensor.pieces) if group else 1
        if any(not -number <= entry < number for entry in entries) or not entries:
            raise node.refusal(f"it takes entries {entries} of an axis of {number}.")
        if not group:
            if len(entries) > 1:
                raise node.refusal(f"it takes entries {entries} of an axis of 1.")
            return tensor.with_axes([*around[0], *kept, *around[1]])
        middle = [group] if keep else []
        return tensor.with_pieces([tensor.pieces[entry] for entry in entries], [*around[0], *middle, *around[1]])
    if group == (tensor.time,) and {piece.kind for piece in tensor.pieces} == {"step"} and len(entries) == 1:
        length = tensor.atom_size(tensor.time)
        last = length - 1 if isinstance(length, int) else -1
        if entries[0] in (0, last, -1):
            at_end = entries[0] in (last, -1)
            kind = "last step" if at_end else "first step"
            pieces = [each._replace(kind="h" if at_end != each.reverse else kind) for each in tensor.pieces]
            return tensor.with_pieces(pieces, [*around[0], *kept, *around[1]])
    raise node.refusal(f"it takes entries {entries} of axis {axis}, which is not followed.")


def _axes(node: Node, values: Sequence[Value | None]) -> list[int] | None:
    """The axes of Squeeze and Unsqueeze: an attribute first, an input since opset 13."""
    if node.opset < 13:
        return node.integers("axes")
    return _integers(node, values[1], "axes") if len(values) > 1 and values[1] is not None else None


def _axis(node: Node, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise node.refusal(f"it names axis {axis} of a tensor with {rank} axes.")
    return axis % rank


def _rank(value: Value | None) -> int:
    return len(value.axes) if isinstance(value, Tensor) else np.ndim(value)  # type: ignore[arg-type]


def _shown(dims: Sequence[Dim]) -> str:
    return f"({', '.join(map(str, dims))})"
