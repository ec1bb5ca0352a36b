"""The backend's functions, and a model made ready for many runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from numrnn._errors import explain, kind_of
from numrnn.interop.onnx_files import library, read_model
from numrnn.interop.onnx_recurrence import OPERATORS
from numrnn.onnx_backend.recurrent_node import RecurrentNode

library("numrnn.onnx_backend")
import onnx  # noqa: E402 (what is missing has been said)
from onnx.backend.base import Backend, BackendRep, namedtupledict  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx.reference.op_run import OpRun  # noqa: E402

__all__ = ["NumrnnBackend", "PreparedModel"]

_HEAD = "numrnn.onnx_backend"


class PreparedModel(BackendRep):  # type: ignore[misc]
    """A model that has been read; `prepare` makes it.

    Attributes
    ----------
    engines : list of tuple (name, engine, reason)
        Of each recurrent node, in the order of the file, those of inner graphs behind the node that holds them, those
        of functions last: its name, "kernels" or "numpy", and what kept it from the kernels, or None.
    engine : str
        "kernels" or "numpy" if all are that; "mixed"; "none" without recurrent nodes.
    """

    def __init__(self, model: Any) -> None:
        model, _ = read_model(model, _HEAD)
        _check(onnx.checker.check_model, model)
        copied = onnx.ModelProto()
        copied.CopyFrom(model)
        for part in (copied.graph, *copied.functions):
            _label(part.node)
        with _as_value_errors():
            self._graph = _Evaluator(copied)
        initializers = {each.name for each in model.graph.initializer}
        self._inputs = [each.name for each in model.graph.input if each.name not in initializers]
        self._optional = initializers
        found = [node for part in (self._graph, *self._graph.functions_.values()) for node in _recurrent_nodes(part)]
        self.engines = [(node.name, node.engine, node.reason) for node in found]

    @property
    def engine(self) -> str:
        """What computes the recurrent nodes."""
        found = {engine for _, engine, _ in self.engines}
        return "none" if not found else found.pop() if len(found) == 1 else "mixed"

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Evaluate the graph.

        Parameters
        ----------
        inputs : sequence of array, mapping of str to array, or array
            All inputs of the graph in order, or by name, or the only one.

        Returns
        -------
        named tuple of array
            The outputs in order, by attribute or by name in brackets.

        Raises
        ------
        ValueError
            Inputs that are missing or too many, or that a node refuses.
        TypeError
            Keyword arguments; there are none.
        """
        _no_options(kwargs)
        feeds = _fed(inputs, self._inputs, self._optional)
        with _as_value_errors():
            values = self._graph.run(None, feeds)
        return _named(self._graph.output_names, values)


class NumrnnBackend(Backend):  # type: ignore[misc]
    """The functions as ONNX's backends have them; the module has the same at its top level."""

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether a model can be prepared on a device."""
        try:
            cls.prepare(model, device, **kwargs)
        except ValueError:
            return False
        return True

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> PreparedModel:
        """Read a model for many runs.

        Parameters
        ----------
        model : onnx.ModelProto or path
        device : str
            "CPU".

        Returns
        -------
        PreparedModel
            `run(inputs)`; `engine` and `engines` say what computes the recurrent nodes.

        Raises
        ------
        ValueError
            A model that onnx's checker or a node refuses, with numbers in other files, or for another device.
        TypeError
            No model; keyword arguments, of which there are none.
        OSError
            A file that cannot be read.
        """
        _no_options(kwargs)
        _check_device(device)
        return PreparedModel(model)

    @classmethod
    def run_model(cls, model: Any, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        """Prepare a model and run it once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: Any,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Any = None,
        *,
        opset_version: int | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Evaluate one node.

        Parameters
        ----------
        node : onnx.NodeProto
        inputs : sequence of array, or mapping of str to array
            The connected inputs in order, or by name.
        device : str
            "CPU".
        outputs_info : optional
            Element types and shapes of the outputs, which the node's inputs tell already; they are compared.
        opset_version : int, optional
            Version of ONNX's operators; None is the newest that onnx knows.

        Returns
        -------
        named tuple of array
            The outputs that have a name.

        Raises
        ------
        ValueError
            A node that onnx's checker refuses, inputs that do not fit, outputs that are not as told.
        TypeError
            No node; other keyword arguments.
        """
        _no_options(kwargs)
        _check_device(device)
        if not isinstance(node, onnx.NodeProto):
            raise TypeError(explain(_HEAD, f"`node` should be an onnx.NodeProto, got {kind_of(node)}."))
        opset = int(onnx.defs.onnx_opset_version()) if opset_version is None else opset_version
        context = onnx.checker.C.CheckerContext()
        context.ir_version, context.opset_imports = onnx.IR_VERSION, {"": opset}
        _check(onnx.checker.check_node, node, context)
        feeds = _fed(inputs, [name for name in dict.fromkeys(node.input) if name], set())
        if node.op_type in OPERATORS and node.domain in ("", "ai.onnx"):
            values: Sequence[Any] = RecurrentNode(node, 0, opset, _HEAD).run(*(feeds.get(name) for name in node.input))
        else:
            with _as_value_errors():
                values = ReferenceEvaluator(node).run(list(node.output), feeds)
        outputs = [(name, value) for name, value in zip(node.output, values, strict=False) if name]
        if outputs_info is not None:
            told = [(np.dtype(dtype), tuple(shape)) for dtype, shape in outputs_info]
            if told != [(value.dtype, value.shape) for _, value in outputs]:
                raise ValueError(explain(_HEAD, "`outputs_info` does not describe the outputs.", f"It says {told}."))
        return _named([name for name, _ in outputs], [value for _, value in outputs])

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether it is a CPU: "CPU", "CPU:0", ...."""
        return device.partition(":")[0] == "CPU"


class _Recurrent(OpRun):  # type: ignore[misc]
    """A node as ONNX's reference evaluator makes it; the name of a subclass is the operator's."""

    op_domain = ""

    def __init__(self, proto: Any, run_params: Any, schema: Any = None) -> None:
        super().__init__(proto, run_params, schema)
        self.recurrent_node = RecurrentNode(proto, int(proto.doc_string), run_params["opsets"][""], _HEAD)

    def _run(self, *values: NDArray[Any] | None, **attributes: Any) -> tuple[NDArray[Any], ...]:
        return self.recurrent_node.run(*values)[: len(self.onnx_node.output)]


class _Evaluator(ReferenceEvaluator):  # type: ignore[misc]
    """ONNX's, which does not hand its operators on to functions."""

    _operators: ClassVar[list[type]] = [type(op, (_Recurrent,), {}) for op in OPERATORS]

    def __init__(self, proto: Any, *, new_ops: Any = None, **options: Any) -> None:
        super().__init__(proto, new_ops=self._operators, **options)


def _label(nodes: Sequence[Any]) -> None:
    """Write their places into the recurrent nodes of a graph and of graphs inside it, which only the graph knows."""
    for k, node in enumerate(nodes):
        for place, name in enumerate(node.output):  # the reference evaluator takes results without a name for inputs
            if not name:
                node.output[place] = f"unnamed result {place} of node {k}"
        if node.op_type in OPERATORS:
            node.doc_string = str(k)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _label(inner.node)


def _recurrent_nodes(graph: Any) -> Iterator[RecurrentNode]:
    """Those of a graph and of graphs inside it."""
    for made in graph.rt_nodes_:
        if isinstance(made, _Recurrent):
            yield made.recurrent_node
        for attribute in made.onnx_node.attribute:
            inner = getattr(made, attribute.name, None)
            if isinstance(inner, ReferenceEvaluator):
                yield from _recurrent_nodes(inner)


@contextlib.contextmanager
def _as_value_errors() -> Iterator[None]:
    """What ONNX's reference evaluator raises, as one kind of error."""
    try:
        yield
    except (ValueError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(explain(_HEAD, f"the graph cannot be evaluated: {error}.")) from error


def _check(checker: Any, *arguments: Any) -> None:
    try:
        checker(*arguments)
    except Exception as error:
        raise ValueError(explain(_HEAD, f"onnx's checker refuses it: {error}.")) from error


def _check_device(device: str) -> None:
    if not NumrnnBackend.supports_device(device):
        raise ValueError(explain(_HEAD, f'`device` should be "CPU", got {device!r}.'))


def _no_options(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise TypeError(explain(_HEAD, f"there is no option {next(iter(kwargs))!r}."))


def _fed(inputs: Any, names: Sequence[str], optional: set[str]) -> dict[str, NDArray[Any]]:
    """Inputs by name."""
    if isinstance(inputs, Mapping):
        missing = [name for name in names if name not in inputs]
        unknown = [name for name in inputs if name not in names and name not in optional]
        if missing or unknown:
            problem = f"inputs missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}."
            raise ValueError(explain(_HEAD, problem, f"Expected: {', '.join(names)}."))
        return {name: np.asarray(value) for name, value in inputs.items()}
    given = [inputs] if isinstance(inputs, np.ndarray) and len(names) == 1 else list(inputs)
    if len(given) != len(names):
        raise ValueError(explain(_HEAD, f"{len(given)} inputs were given.", f"Expected: {', '.join(names)}."))
    return {name: np.asarray(value) for name, value in zip(names, given, strict=True)}


def _named(names: Sequence[str], values: Sequence[Any]) -> tuple[Any, ...]:
    made: tuple[Any, ...] = namedtupledict("Outputs", list(names))(*values)
    return made
