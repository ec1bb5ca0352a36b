"""`from_onnx`: the layer or model that an ONNX graph describes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from numrnn._errors import explain
from numrnn.cellspec import CELLS
from numrnn.interop.assembly import dense_layer, recurrent_layer, stacked
from numrnn.interop.onnx_files import library, read_model
from numrnn.interop.onnx_graph import Direction, Followed, Head, follow
from numrnn.interop.onnx_notes import Notes, read_notes
from numrnn.interop.onnx_values import FEATURES, PIECES, Piece, Tensor
from numrnn.nn.linear import Linear
from numrnn.nn.model import SequenceModel
from numrnn.nn.recurrent import Recurrent
from numrnn.nn.reversed import AnyLayer, Reversed

__all__ = ["from_onnx"]

_READOUTS = {"step": "every", "h": "last", "mean": "mean", "max": "max"}
"""The kind of piece that a model's head reads, and how `readout_on` calls it."""

Level: TypeAlias = list[Direction]
"""The directions of one layer of a stack, forward first."""


def from_onnx(source: str | os.PathLike[str] | Any) -> Recurrent | Reversed | SequenceModel:
    """Load a recurrent model from ONNX.

    Parameters
    ----------
    source : path or onnx.ModelProto
        A graph of RNN, LSTM or GRU nodes, stacked or not, with the operators around them that rearrange numbers, and at
        most one dense layer on top (Gemm, or MatMul and Add), which reads every step, the last state, or the mean or
        maximum over time: as `to_onnx`, PyTorch's exporters and tf2onnx write them.
        PyTorch's newer exporter writes torch.nn.RNN step by step; that is read too.

    Returns
    -------
    RNN, LSTM or GRU
        If the graph's outputs are those of a layer: all steps, last states, or both.
    Reversed
        If the nodes of that layer have direction="reverse".
    SequenceModel
        With a dense head, or if the first output is the last step, or if the layers differ.

    Raises
    ------
    ValueError
        What is not understood: an operator, an attribute, an input, by the name of its node. Nothing is ignored. Also a
        file that is malformed, larger than 2 GiB, or keeps its numbers in other files.
    OSError
        A file that does not exist or cannot be read.
    TypeError
        Neither a path nor a model.
    ImportError
        onnx is not installed.

    Notes
    -----
    A layer is batch_first if the graph's input is (batch, time, features). The main output has its axes in the order
    of the input, or is a node's own Y, (time, directions, batch, hidden), which a layer has as (time, batch, features);
    other outputs, such as states, are the result's under other names and axes. Sizes of time and batch that an exporter
    has frozen are free again. Initial states are zeros or inputs of the graph, which become the call's `state`. Only
    what the outputs depend on is read. Dropout between layers is not part of a graph for inference; a file of `to_onnx`
    names it in its metadata, with the layers that the nodes belong to.

    Operators of versions 7 and later are read, in float32 and float64. `layout`, `clip`, peepholes, `input_forget`,
    `sequence_lens` and unusual activations are refused: `numrnn.onnx_backend` evaluates them.

    Examples
    --------
    >>> import numrnn, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "gru.onnx")
    >>> numrnn.to_onnx(numrnn.GRU(4, 8, num_layers=2, batch_first=True), path)
    >>> numrnn.from_onnx(path)
    GRU(input_size=4, hidden_size=8, num_layers=2, batch_first=True)
    """
    head = f"from_onnx({os.fspath(source)!r})" if isinstance(source, str | os.PathLike) else "from_onnx"
    model, n_bytes = read_model(source, head)
    newest = int(library(head).defs.onnx_opset_version())
    found, notes = follow(model, n_bytes, head, newest), read_notes(model, head)
    del model  # its weights have been copied
    return _Assembly(found, notes).model()


class _Assembly:
    """Layers and a head of the directions that a graph has."""

    def __init__(self, found: Followed, notes: Notes | None) -> None:
        self.found = found
        self.notes = notes
        self.batch_first = found.time_axis == 1

    def model(self) -> Recurrent | Reversed | SequenceModel:
        levels = self._levels()
        top = [self.found.directions.index(each) for each in levels[-1]]
        name, output = self._main_output(top)
        stacks = self._stacks(levels)
        for stack in stacks:
            self._check_states(stack)
        layers = [self._layer(stack, k) for k, stack in enumerate(stacks)]
        readout: Linear | None = None
        if output.pieces[0].kind == "head":
            below = self.found.heads[output.pieces[0].owner]
            readout = dense_layer(below.weight, below.bias, below.weight.dtype)
            readout_on = self._readout_on(below.reads, top)
            if readout_on is None:
                raise self._unread(below)
            self._check_axes(name, output, readout_on)
        else:
            readout_on = self._readout_on(output, top)
            if readout_on == "last" and not (len(output.axes) == 2 and output.holds(output.axes[-1])):
                readout_on = None  # h_n itself, with an axis for its rows
            if readout_on is not None and not self._is_node_output(output):
                self._check_axes(name, output, readout_on)
        self._check_outputs(name, top, is_read=readout_on is not None)
        readout_on = readout_on or "every"
        if len(layers) == 1 and readout is None and readout_on == "every" and not (self.notes and self.notes.is_model):
            return layers[0]
        listed = layers if len(layers) > 1 or (self.notes and self.notes.is_list) else layers[0]
        return SequenceModel(listed, readout, readout_on=readout_on)

    def _levels(self) -> list[Level]:
        """The directions from the bottom to the top of one stack."""
        directions, left = self.found.directions, list(range(len(self.found.directions)))
        if not directions:
            raise self._refusal("its outputs depend on no RNN, LSTM or GRU node.")
        levels: list[Level] = []
        below: list[tuple[str, int]] = [("input", 0)]
        while left:
            level = [k for k in left if [(p.kind, p.owner) for p in directions[k].reads.pieces] == below]
            found = sorted(level, key=lambda k: directions[k].reverse)
            reverse = [directions[k].reverse for k in found]
            if not found or reverse not in ([False], [True], [False, True]):
                node = directions[(found or left)[-1]].node
                raise node.refusal("it is no part of one stack: it reads not what the layer below gives, or not alone.")
            level_cells = {(directions[k].cell, directions[k].hidden_size) for k in found}
            if len(level_cells) > 1:
                problem = "it differs in kind or size from what it is joined with."
                raise directions[found[-1]].node.refusal(problem)
            levels.append([directions[k] for k in found])
            left = [k for k in left if k not in found]
            below = [("step", k) for k in found]
        return levels

    def _stacks(self, levels: list[Level]) -> list[list[Level]]:
        """Levels that are one layer of ours; as the notes say, or as many together as possible."""
        if self.notes is not None:
            counts = self.notes.num_layers
            if sum(counts) != len(levels):
                raise self._refusal(f"its metadata speak of {sum(counts)} layers, its graph has {len(levels)}.")
            starts = np.cumsum([0, *counts]).tolist()
            stacks = [levels[start:end] for start, end in pairwise(starts)]
            if any(_kind(level) != _kind(stack[0]) for stack in stacks for level in stack):
                raise self._refusal("its metadata call one layer what are nodes of different kinds or sizes.")
            return stacks
        stacks = []
        for level in levels:
            if stacks and _kind(stacks[-1][-1]) == _kind(level):
                stacks[-1].append(level)
            else:
                stacks.append([level])
        return stacks

    def _check_states(self, stack: list[Level]) -> None:
        """States are zero, or the rows of one input in order."""
        directions = [each for level in stack for each in level]
        for k in range(len(directions[0].state)):
            given = [each.state[k] for each in directions]
            if any(piece is not None for piece in given):
                rows = [(piece.source, piece.owner) if piece else ("", -1) for piece in given]
                if rows != [(rows[0][0], row) for row in range(len(directions))]:
                    problem = "its initial state is not its own row of the same input as those of the nodes around."
                    raise directions[-1].node.refusal(problem, "Rows are in the order of the nodes, forward first.")

    def _layer(self, stack: list[Level], number: int) -> AnyLayer:
        first = stack[0][0]
        directions = [each for level in stack for each in level]
        bias = any("bias_ih" in each.weights for each in directions)
        options: dict[str, Any] = {
            "input_size": first.weights["weight_ih"].shape[1],
            "hidden_size": first.hidden_size,
            "num_layers": len(stack),
            "bias": bias,
            "batch_first": self.batch_first,
            "bidirectional": len(stack[0]) == 2,
            "dtype": first.weights["weight_ih"].dtype,
        }
        if self.notes is not None and len(stack) > 1:
            options["dropout"] = self.notes.dropout[number]
        zeros = np.zeros(CELLS[first.cell].num_gates * first.hidden_size, first.weights["weight_ih"].dtype)
        biases = {"bias_ih": zeros, "bias_hh": zeros} if bias else {}
        weights = stacked([[biases | each.weights for each in level] for level in stack])
        layer = recurrent_layer(first.cell, weights, **options)
        return Reversed(layer) if _is_reverse(stack[0]) else layer

    def _main_output(self, top: list[int]) -> tuple[str, Tensor]:
        """The dense layer's output, if there is one, or the top layer's steps, or the first."""
        outputs = self.found.outputs
        heads = [(name, tensor) for name, tensor in outputs if tensor.pieces[0].kind == "head"]
        if len(heads) > 1:
            raise self._refusal(
                f"its outputs {heads[0][0]!r} and {heads[1][0]!r} are of two dense layers; one is read."
            )
        every = [("step", k) for k in top]
        steps = [one for one in outputs if [(piece.kind, piece.owner) for piece in one[1].pieces] == every]
        return (heads or steps or outputs)[0]

    def _readout_on(self, tensor: Tensor, top: list[int]) -> str | None:
        """What of the top layer a tensor is, all directions side by side; None if it is something else."""
        kinds = [(piece.kind, piece.owner) for piece in tensor.pieces]
        return next((word for kind, word in _READOUTS.items() if kinds == [(kind, k) for k in top]), None)

    def _unread(self, head: Head) -> ValueError:
        problem = "what it reads is neither all steps of the top layer nor its last state, all directions side by side."
        mistake = (
            "A head on output[:, -1] of a bidirectional layer sees one step of the reverse direction, not its state."
        )
        seen = {piece.kind for piece in head.reads.pieces}
        return head.node.refusal(problem, *([mistake] if "last step" in seen else []))

    def _is_node_output(self, output: Tensor) -> bool:
        """Whether an output has the axes of a node's own, (time, directions, batch, hidden)."""
        if len(output.axes) != 4 or output.axes[1] not in ((), (PIECES,)):
            return False
        time, batch = f"[{self.found.time_axis}]", f"[{1 - self.found.time_axis}]"
        steps, _, rows, features = ("".join(group) for group in output.axes)
        return steps == self.found.x + time and rows == self.found.x + batch and features == FEATURES

    def _check_axes(self, name: str, output: Tensor, readout_on: str) -> None:
        """Time and batch of an output stand as in the input."""
        atoms = [group for group in output.axes if group and group not in ((PIECES,), (FEATURES,), (PIECES, FEATURES))]
        features = len(output.axes) == len(atoms) + 1 and output.holds(output.axes[-1])
        axes = [int(group[0][-2]) if len(group) == 1 else -1 for group in atoms]
        every = readout_on == "every"
        if not features or axes != ([0, 1] if every else [1 - self.found.time_axis]):
            expected = "(batch, time, features)" if self.batch_first else "(time, batch, features)"
            expected = expected if every else "(batch, features)"
            raise self._refusal(f"the axes of its output {name!r} are not {expected}, as those of its input say.")

    def _check_outputs(self, main: str, top: list[int], *, is_read: bool) -> None:
        """All outputs are results of the layers; the main one may be a model's."""
        every = [("step", k) for k in top]
        for name, tensor in self.found.outputs:
            kinds = [(piece.kind, piece.owner) for piece in tensor.pieces]
            is_state = all(kind in ("h", "c") for kind, _ in kinds)
            if not (is_state or kinds == every or (name == main and is_read)):
                raise self._refusal(f"its output {name!r} is none that a layer has: {_named(tensor.pieces[0])}.")

    def _refusal(self, problem: str, *advice: str) -> ValueError:
        return ValueError(explain(self.found.head, problem, *advice))


def _is_reverse(level: Level) -> bool:
    return [each.reverse for each in level] == [True]


def _kind(level: Sequence[Direction]) -> tuple[Any, ...]:
    """What levels of one layer of ours have in common."""
    first = level[0]
    sources = tuple(piece.source if piece else None for piece in first.state)
    return first.cell, first.hidden_size, [each.reverse for each in level], sources


def _named(piece: Piece) -> str:
    """A piece in words."""
    words = {
        "input": "the input itself",
        "given": "an initial state",
        "step": "steps of a lower layer, or of one direction",
    }
    return words.get(piece.kind, f"the {piece.kind} of a direction")
