"""The command line: `numrnn demo | info | bench | describe | warmup | convert`, also as `python -m numrnn`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["main"]

_CELLS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command.

    Parameters
    ----------
    arguments
        Words after the program's name; None reads them from the process.

    Returns
    -------
    int
        The exit code: 0, 1 if the work failed, 2 if the request cannot be carried out.
    """
    parser = argparse.ArgumentParser(
        prog="numrnn", description="Recurrent networks on NumPy arrays, compiled by Numba."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    words = sys.argv[1:] if arguments is None else list(arguments)
    for name, (help_text, add_arguments, run) in _COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=help_text)
        if words[:1] == [name]:  # the others' modules need not be imported
            add_arguments(command)
        command.set_defaults(run=run)
    options = parser.parse_args(words)
    try:
        code = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        sys.stderr.close()
        return 1
    except (ValueError, NotImplementedError, OSError, ImportError, MemoryError) as error:
        print(f"numrnn {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"numrnn {options.command}: interrupted", file=sys.stderr)
        return 130
    return int(code or 0)


def _add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    from numrnn import demo

    demo.add_arguments(parser)


def _demo(options: argparse.Namespace) -> Any:
    from numrnn import demo

    return demo.main(options)


def _add_bench_arguments(parser: argparse.ArgumentParser) -> None:
    from numrnn import bench

    bench.add_arguments(parser)


def _bench(options: argparse.Namespace) -> int:
    from numrnn import bench

    return bench.main(options)


def _add_nothing(parser: argparse.ArgumentParser) -> None:
    """No options."""


def _info(options: argparse.Namespace) -> int:
    from numrnn import info

    facts = info()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<{width}}  {_readable(value)}")
    return 0


def _readable(value: Any) -> str:
    """Write a fact as a person would."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{part} {name}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def _add_describe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layer", metavar="CELL|FILE", help="rnn, lstm or gru; or a file: .safetensors, .keras, .onnx")
    parser.add_argument("sizes", nargs="*", type=int, metavar="SIZE", help="input size and hidden size of the layer")
    parser.add_argument("--shape", type=_shape, metavar="T,N,I", help="shape of the input, N,T,I with --batch-first")
    parser.add_argument("--num-layers", type=int, default=1, help="default: 1")
    parser.add_argument("--batch-first", action="store_true", help="the input has its batch axis first")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"), help="default: float32")


def _describe(options: argparse.Namespace) -> int:
    if options.layer not in _CELLS:
        return _describe_file(options)
    import numrnn

    if len(options.sizes) != 2 or options.shape is None:
        raise ValueError(
            "expected two sizes and a shape: numrnn describe "
            f"{options.layer} INPUT_SIZE HIDDEN_SIZE --shape {'N,T,I' if options.batch_first else 'T,N,I'}"
        )
    make = getattr(numrnn, _CELLS[options.layer])
    layer = make(*options.sizes, num_layers=options.num_layers, batch_first=options.batch_first, dtype=options.dtype)
    print(layer.describe(options.shape))
    return 0


def _describe_file(options: argparse.Namespace) -> int:
    from numrnn.interop.formats import overview, read_model

    if options.sizes:
        raise ValueError(f"sizes were given beside {options.layer!r}: a file has its own; expected rnn, lstm or gru")
    model = read_model("describe", options.layer)
    print(overview(model))
    if options.shape is not None:
        if not hasattr(model, "describe"):
            raise ValueError(f"--shape is for a single layer, and {options.layer!r} holds a {type(model).__name__}")
        print()
        print(model.describe(options.shape))
    return 0


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected integers separated by commas") from None


def _add_warmup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cells", default="lstm,gru,rnn", help="of lstm,gru,gru_reset_before,rnn,rnn_relu (default: lstm,gru,rnn)"
    )
    parser.add_argument("--dtypes", default="float32", help="of float32,float64 (default: float32)")
    parser.add_argument("--forward-only", action="store_true", help="leave out the kernels of training")


def _warmup(options: argparse.Namespace) -> int:
    from numrnn import warmup

    warmup(options.cells.split(","), options.dtypes.split(","), training=not options.forward_only)
    return 0


def _add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="FROM", help="a model's file: .safetensors (numrnn, PyTorch), .keras, .onnx")
    parser.add_argument("target", metavar="TO", help="the file to write: .safetensors or .onnx")


def _convert(options: argparse.Namespace) -> int:
    from numrnn.interop.formats import overview, read_model, write_model

    model = read_model("convert", options.source)
    write_model("convert", model, options.target)
    print(overview(model))
    return 0


_Adder = Callable[[argparse.ArgumentParser], None]
_COMMANDS: dict[str, tuple[str, _Adder, Callable[[argparse.Namespace], Any]]] = {
    "demo": ("Train a forecaster or a classifier on real data, step by step.", _add_demo_arguments, _demo),
    "info": ("Versions, processor, vector width, threads and cache folder.", _add_nothing, _info),
    "bench": ("Measure speed beside other libraries, each in its own process.", _add_bench_arguments, _bench),
    "describe": (
        "Name every axis of a layer's arrays, and the memory they need; or what a file holds.",
        _add_describe_arguments,
        _describe,
    ),
    "warmup": ("Compile the kernels now, so that later first calls are fast.", _add_warmup_arguments, _warmup),
    "convert": ("Convert a model's file to another format.", _add_convert_arguments, _convert),
}
