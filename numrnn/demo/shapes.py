"""What a layer and its model return: shapes with named axes, and identities that are checked on the arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import numrnn
from numrnn.nn.model import SequenceModel

__all__ = ["Words", "same", "show_shapes"]


@dataclass(frozen=True, slots=True)
class Words:
    """What the axes of x are called, and what becomes of the head's numbers."""

    steps: str
    rows: str
    features: str
    prediction: tuple[str, str]
    """Name, and meaning."""


Line = tuple[str, tuple[int, ...], str]
"""An array's name, its shape, what it is."""

Check = tuple[str, bool, str]
"""A claim, whether it holds, what it means."""


def show_shapes(
    model: SequenceModel,
    x: NDArray[np.float32],
    words: Words,
    *,
    n_threads: int | None = None,
    more_lines: Sequence[Line] = (),
    more_checks: Sequence[Check] = (),
) -> bool:
    """Print what a layer and its model return, and whether what should be equal is equal."""
    layer, readout = model.recurrent, model.readout
    assert isinstance(layer, numrnn.RNN | numrnn.LSTM | numrnn.GRU)
    assert readout is not None
    prediction = model(x, n_threads=n_threads)
    result = layer(x, n_threads=n_threads)
    (seq_len, batch_size, features), hidden = x.shape, layer.hidden_size
    lines: list[Line] = [
        ("x", x.shape, f"T={seq_len} {words.steps}, N={batch_size} {words.rows}, I={features} {words.features}"),
        ("output", result.output.shape, f"(T, N, H): the top layer's hidden state at every step, H={hidden}"),
        ("h_n", result.h_n.shape, "(L, N, H): every layer's hidden state after the last step, L=1"),
    ]
    cut = seq_len // 2
    first = layer(x[:cut], n_threads=n_threads)
    second = layer(x[cut:], first.state, n_threads=n_threads)
    pieces = np.concatenate([first.output, second.output])
    checks: list[Check] = [
        ("output[-1] == h_n[-1]", same(result.output[-1], result.h_n[-1]), "the last step, seen twice"),
        ("last_output == h_n[-1]", same(result.last_output, result.h_n[-1]), "what the head reads"),
        (
            "readout(last_output) == model(x)",
            same(readout(result.last_output, n_threads=n_threads), prediction),
            "the model is no more",
        ),
        (
            f"{cut} {words.steps}, then {seq_len - cut} from `state` == all {seq_len}",
            same(pieces, result.output) and same(second.h_n, result.h_n),
            "the state is all that is remembered",
        ),
    ]
    if isinstance(layer, numrnn.LSTM):
        lines.append(("c_n", result.c_n.shape, "(L, N, H): every layer's cell state after the last step"))
        elsewhere = not np.any(np.all(result.output == result.c_n[-1], axis=(1, 2)))
        checks.append(("c_n is no step of output", elsewhere, "the cell state is memory, never shown"))
    name, meaning = words.prediction
    _print(
        type(layer).__name__.lower(), [*lines, (name, prediction.shape, meaning), *more_lines], [*checks, *more_checks]
    )
    return all(holds for _, holds, _ in (*checks, *more_checks))


def _print(layer: str, lines: Sequence[Line], checks: Sequence[Check]) -> None:
    print(f"\nShapes: result = {layer}(x)")
    names, shapes = (max(len(str(line[k])) for line in lines) for k in (0, 1))
    for name, shape, meaning in lines:
        print(f"  {name:<{names + 1}} {shape!s:<{shapes + 1}} {meaning}")
    print("  checked on these arrays, bit for bit:")
    claims = max(len(claim) for claim, _, _ in checks)
    for claim, holds, meaning in checks:
        print(f"    {claim:<{claims + 1}} {'yes' if holds else 'NO'}   {meaning}")


def same(left: NDArray[Any], right: NDArray[Any]) -> bool:
    """Whether two arrays are equal, bit for bit."""
    return bool(np.array_equal(left, right))
