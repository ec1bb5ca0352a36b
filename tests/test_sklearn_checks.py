"""scikit-learn's own checks of estimators, with nothing excused and nothing skipped."""

import json
import os
import subprocess
import sys

import pytest

CHECK = """
import json, sys
from sklearn.utils.estimator_checks import check_estimator
import numrnn.sklearn
results = check_estimator(getattr(numrnn.sklearn, sys.argv[1])(), on_fail=None, on_skip=None)
print(json.dumps([(result["check_name"], result["status"], repr(result["exception"])) for result in results]))
"""


@pytest.mark.parametrize(
    "name", ["RecurrentClassifier", "RecurrentRegressor", "RecurrentForecaster", "RecurrentFeatures"]
)
def test_all_of_scikit_learns_checks_pass(name: str) -> None:
    """In a process of its own, since SciPy reads SCIPY_ARRAY_API, without which one check is skipped, when imported."""
    environment = os.environ | {"SCIPY_ARRAY_API": "1", "NUMBA_NUM_THREADS": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", CHECK, name], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    results = json.loads(finished.stdout)
    assert [result for result in results if result[1] != "passed"] == []
    assert len(results) > 40
