"""`python -m numrnn` is the command `numrnn`."""

import sys

from numrnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
