"""What a live PyTorch module holds: its recurrent layer, perhaps a Linear on top, and nothing else that counts."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from numrnn._errors import explain
from numrnn.interop.torch_names import Dense

__all__ = ["Found", "is_module", "read_module"]

_DROPPING = (
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "AlphaDropout",
    "FeatureAlphaDropout",
    "Identity",
    "Flatten",
)


class Found(NamedTuple):
    """A recurrent module and a Linear or None."""

    recurrent: Any
    readout: Any

    def arguments(self) -> dict[str, Any]:
        """What the recurrent module tells beside its weights."""
        module = self.recurrent
        given = {"batch_first": module.batch_first}
        if module.num_layers > 1:
            given["dropout"] = module.dropout
        if module.mode.startswith("RNN_"):
            given["nonlinearity"] = module.mode.removeprefix("RNN_").lower()
        return given

    def state(self) -> dict[str, Any]:
        """The tensors by name; those of a module under weight normalisation and the like as forward uses them."""
        weights = {f"recurrent.{name}": getattr(self.recurrent, name) for name in self.recurrent._flat_weights_names}
        if self.readout is not None:
            named = {f"readout.{name}": getattr(self.readout, name) for name in ("weight", "bias")}
            weights |= {name: tensor for name, tensor in named.items() if tensor is not None}
        return weights

    def head(self) -> Dense | None:
        """The dense layer that the Linear is."""
        module = self.readout
        if module is None:
            return None
        bias = module.bias is not None
        arguments = {"in_features": module.in_features, "out_features": module.out_features, "bias": bias}
        return Dense("readout.", arguments, ("weight", "bias") if bias else ("weight",))


def is_module(value: object) -> bool:
    """Whether a value is a module of PyTorch, which is not imported for the question."""
    return callable(getattr(value, "named_modules", None)) and callable(getattr(value, "state_dict", None))


def read_module(head: str, module: Any, prefix: str) -> Found:
    """Find the recurrent layer of a module, or of its part named `prefix`."""
    nn = importlib.import_module("torch.nn")
    whole, prefix = module, prefix.removesuffix(".")
    names = [name for name, _ in whole.named_modules() if name]
    if prefix:
        if prefix not in names:
            problem = f"`prefix` is {prefix!r}, and the module has no such part."
            raise ValueError(explain(head, problem, f"Parts: {', '.join(names) or 'none'}."))
        module = whole.get_submodule(prefix)
    kinds = (nn.RNNBase, nn.Linear)
    if isinstance(module, nn.RNNBase):
        return Found(module, None)
    found: dict[str, Any] = {}
    for name, part in module.named_modules():
        if not any(name.startswith(f"{owner}.") for owner, above in found.items() if isinstance(above, kinds)):
            found[name] = part
    order = list(found)
    recurrents = {name: part for name, part in found.items() if isinstance(part, nn.RNNBase)}
    heads = {name: part for name, part in found.items() if isinstance(part, nn.Linear)}
    others = {
        name: part
        for name, part in found.items()
        if not isinstance(part, kinds) and not _does_nothing(part) and (name or _holds_tensors(part))
    }
    if len(recurrents) == 1 and len(heads) <= 1 and not others:
        ((at, recurrent),) = recurrents.items()
        width = (recurrent.proj_size or recurrent.hidden_size) * (1 + recurrent.bidirectional)
        on_top = {
            name: part
            for name, part in heads.items()
            if part.in_features == width and order.index(name) > order.index(at)
        }
        if on_top == heads:
            return Found(recurrent, next(iter(heads.values()), None))
    raise _unclear(head, prefix, recurrents, heads | others)


def _does_nothing(part: Any) -> bool:
    """Whether a part leaves a prediction as it is: one that only holds others, or drops in training."""
    if type(part).__name__ in _DROPPING and type(part).__module__.startswith("torch.nn."):
        return True
    return any(True for _ in part.children()) and not _holds_tensors(part)


def _holds_tensors(part: Any) -> bool:
    """Whether a part has parameters or buffers of its own."""
    own = (part.named_parameters(recurse=False), part.named_buffers(recurse=False))
    return any(True for tensors in own for _ in tensors)


def _unclear(head: str, prefix: str, recurrents: Mapping[str, Any], others: Mapping[str, Any]) -> ValueError:
    """Return the error that lists what was found."""

    def listed(parts: Mapping[str, Any]) -> str:
        return ", ".join(f"`{name}` ({type(part).__name__})" for name, part in parts.items()) or "none"

    where = f"its part {prefix!r}" if prefix else "the module"
    details = [f"Recurrent layers: {listed(recurrents)}.", f"Others: {listed(others)}."]
    if not recurrents:
        return ValueError(explain(head, f"{where} has no RNN, LSTM or GRU.", *details))
    problem = f"it is not clear what {where} computes: that is one layer, or one and a Linear on its last output."
    advice = f'Pass prefix="{next(iter(recurrents))}" for one layer alone.'
    return ValueError(explain(head, problem, *details, advice))
