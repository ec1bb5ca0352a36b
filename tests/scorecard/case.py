"""One row in this process: `python -m tests.scorecard.case T-01`. What ends it says what became of it."""

from __future__ import annotations

import signal
import sys
import traceback

from .rows import CannotRunError, all_rows

PASSED = "this row passed"  # a process that ends early ends without saying so


def main(id: str) -> int:
    """Run a row's program; the last line of stderr is the reason where it did not pass."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs with Ctrl-C ignored
    program = all_rows()[id].program
    try:
        program()
    except CannotRunError as reason:
        print(f"cannot run: {reason}", file=sys.stderr)
        return 77
    except BaseException as error:
        traceback.print_exc()
        text = " ".join(str(error).split())
        print(f"{type(error).__name__}: {text[:600]}", file=sys.stderr)
        return 1
    sys.stderr.flush()
    print(f"\n{PASSED}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
