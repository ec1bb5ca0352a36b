"""Our forward pass and pullback as one operation of PyTorch's autograd."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np
import torch
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.autograd import forward_ad

from numrnn._errors import explain
from numrnn._types import Array
from numrnn.engine import forward
from numrnn.engine.dropout import Dropout
from numrnn.engine.packed import PackedSequence
from numrnn.engine.panels import Panels
from numrnn.engine.plan import Call, Purpose, plan_call
from numrnn.engine.signature import Signature
from numrnn.nn.pullback import Pullback
from numrnn.torch.weights import PackedWeights, pack

__all__ = ["Request", "run"]

_INSTEAD = "Call backward() or torch.autograd.grad, or use PyTorch's own module here."


class Request(NamedTuple):
    """What a call has besides its tensors."""

    signature: Signature
    packed: PackedWeights
    order: tuple[Any, Any, Any] | None  # batch_sizes, sorted_indices, unsorted_indices, where x is a packed sequence
    dropout: Dropout | None
    n_threads: int

    def plan(self, x: Any, states: tuple[Any, ...], purpose: Purpose) -> Call:
        """Check the call; arrays are the tensors' own memory where a kernel can read it."""
        given: Any = x.numpy(force=True)
        if self.order is not None:
            given = PackedSequence(given, *self.order)
        arrays = [state.numpy(force=True) for state in states]
        state = None if not arrays else arrays[0] if len(arrays) == 1 else tuple(arrays)
        return plan_call(self, given, state, n_threads=self.n_threads, purpose=purpose)


def run(request: Request, x: Any, states: tuple[Any, ...], weights: list[Any]) -> tuple[Any, ...]:
    """Return output, h_n and, where the cell has it, c_n; recorded by autograd where a gradient may be wanted.

    Raises NotImplementedError for tensors with a tangent, which the kernels would lose, and inside torch.func.
    """
    tensors = (x, *states, *weights)
    if any(map(is_functorch_wrapped_tensor, tensors)):
        problem = "it was called inside a transform of torch.func, and forward-mode (jvp) is not supported, nor others."
        raise NotImplementedError(explain(request.signature.head, problem, _INSTEAD))
    if forward_ad._current_level >= 0 and any(forward_ad.unpack_dual(each).tangent is not None for each in tensors):
        problem = "a tensor has a tangent, and forward-mode differentiation is not supported."
        raise NotImplementedError(explain(request.signature.head, problem, _INSTEAD))
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        results: tuple[Any, ...] = _Recurrence.apply(request, len(states), x, *states, *weights)
        return results[:-1]
    call = request.plan(x, states, "output")
    panels = request.packed.panels(request.signature, weights)
    return _results(call, forward.run(call, panels, dropout=request.dropout))


def _results(call: Call, found: forward.Run) -> tuple[Any, ...]:
    """The run's arrays in the user's form, as tensors of the same memory."""
    output: Any = found.output
    states = [found.h_n] if found.c_n is None else [found.h_n, found.c_n]
    if call.form is not None:
        output = call.form.steps(output)
        output = output.data if isinstance(output, PackedSequence) else output
        states = [call.form.state(state) for state in states]
    return tuple([torch.from_numpy(array) for array in (output, *states)])


class _Recurrence(torch.autograd.Function):
    """x, states and weights to output and last states, and an empty tensor.

    The empty one costs no memory; when backward is recorded, it stands for x, states and weights together.

    All arrays that backward needs are PyTorch's to keep: it frees them after backward, says when one was written to in
    between, and shows them to hooks on saved tensors.
    """

    @staticmethod
    def forward(ctx: Any, request: Request, n_states: int, x: Any, *others: Any) -> tuple[Any, ...]:
        states, weights = others[:n_states], list(others[n_states:])
        call = request.plan(x, states, "training")
        panels = request.packed.panels(request.signature, weights)
        found = forward.run(call, panels, keep=True, dropout=request.dropout)
        results = _results(call, found)
        trace, arrays = _apart(found.saved)
        own = {}  # arrays of a tensor's memory, whose writes PyTorch counts
        if np.may_share_memory(call.x, x.numpy(force=True)):
            own[id(call.x)] = x
        if request.order is None:
            own[id(found.output)] = results[0]
        kept = [own[id(array)] if id(array) in own else torch.from_numpy(array) for array in arrays]
        everything = results[0].new_empty(0)
        ctx.save_for_backward(*weights, *kept, everything)
        ctx.set_materialize_grads(False)
        ctx.n_states, ctx.signature, ctx.plan, ctx.form = n_states, request.signature, call.plan, call.form
        shared = [state.shape[1] != call.plan.batch_size > 1 for state in states]  # one row for the whole batch
        ctx.shared = (shared[0], shared[-1]) if shared else (False, False)
        ctx.trace, ctx.shapes = trace, [array.shape for array in arrays]
        ctx.panels = weakref.ref(panels)  # the module has them as long as its weights are those of this call
        return *results, everything

    @staticmethod
    def backward(ctx: Any, *given: Any) -> tuple[Any, ...]:
        *tensors, everything = ctx.saved_tensors
        cotangents = given[:-1]
        n_weights = len(tensors) - len(ctx.shapes)
        weights, kept = tensors[:n_weights], tensors[n_weights:]
        panels = ctx.panels()
        if panels is None:
            panels = pack(ctx.signature, weights)
        arrays = [tensor.numpy(force=True).reshape(shape) for tensor, shape in zip(kept, ctx.shapes, strict=True)]
        pullback = Pullback(ctx.signature, ctx.plan, ctx.trace.joined(panels, arrays), ctx.shared, ctx.form)
        above = [None if cotangent is None else cotangent.numpy(force=True) for cotangent in cotangents]
        wanted = ctx.needs_input_grad[2:]
        found = pullback(*above, x_gradient=wanted[0])
        d_x = found.x.data if isinstance(found.x, PackedSequence) else found.x
        gradients = [d_x, *(found.h_0, found.c_0)[: ctx.n_states], *found.parameters.values()]
        results = tuple([torch.from_numpy(d) if want else None for d, want in zip(gradients, wanted, strict=True)])
        if torch.is_grad_enabled():  # or a gradient of these would be taken for zero
            results = _FirstDerivative.apply(ctx.signature.head, len(results), *results, everything, *cotangents)
        return None, None, *results


class _FirstDerivative(torch.autograd.Function):
    """Gradients that have none themselves, and say so when they are asked for it.

    Autograd runs only what lies between a result and the tensors that it is differentiated by. So the inputs are all
    tensors that a gradient depends on: the cotangents, and the empty tensor whose origin is x, states and weights.
    """

    @staticmethod
    def forward(ctx: Any, head: str, n_gradients: int, *tensors: Any) -> tuple[Any, ...]:
        ctx.head = head
        return tensors[:n_gradients]

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        problem = "a gradient of a gradient was asked for, and there is no second derivative."
        raise NotImplementedError(explain(ctx.head, problem, "Use PyTorch's own module where one is needed."))


class _Trace(NamedTuple):
    """What forward kept for backward without its arrays, and the place of each among them."""

    saved: Any
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    workspaces: tuple[int, ...]

    def joined(self, panels: Panels, arrays: list[Array]) -> Any:
        """Put arrays and weights back."""
        if not isinstance(self.saved, forward.Saved):
            return self.saved
        return self.saved._replace(
            panels=panels,
            h_0=arrays[0],
            inputs=tuple([None if k is None else arrays[k] for k in self.inputs]),
            outputs=tuple([arrays[k] for k in self.outputs]),
            workspaces=tuple([arrays[k] for k in self.workspaces]),
        )


def _apart(saved: Any) -> tuple[_Trace, list[Array]]:
    """Take the arrays out of what forward kept, each once; the initial hidden state comes first."""
    if not isinstance(saved, forward.Saved):  # the reference's, where Numba is switched off
        return _Trace(saved, (), (), ()), []
    places: dict[int, int] = {}
    arrays: list[Array] = []

    def place(array: Array) -> int:
        found = places.setdefault(id(array), len(arrays))
        if found == len(arrays):
            arrays.append(array)
        return found

    place(saved.h_0)
    inputs = tuple([None if array is None else place(array) for array in saved.inputs])
    outputs, workspaces = tuple(map(place, saved.outputs)), tuple(map(place, saved.workspaces))
    bare: Any = saved._replace(panels=None, h_0=None, inputs=(), outputs=(), workspaces=())  # type: ignore[arg-type]
    return _Trace(bare, inputs, outputs, workspaces), arrays
