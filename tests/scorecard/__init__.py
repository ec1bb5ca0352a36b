"""The reliability scorecard: what other people's programs do to the package, each case in a process of its own.

`python -m tests.scorecard` runs all rows, `python -m tests.scorecard T P-01 --layers omp` some. A row passes if its
process ends by itself, in time, with the stated result.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # rows share cases with the tests
