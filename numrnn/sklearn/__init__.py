"""Estimators for scikit-learn, which the extra `sklearn` brings: classification, regression, forecasts and features."""

from __future__ import annotations

try:
    import sklearn as _sklearn
except ImportError as error:
    raise ImportError('The estimators need scikit-learn: pip install "numrnn[sklearn]"') from error

from numrnn.sklearn.classifier import RecurrentClassifier
from numrnn.sklearn.features import RecurrentFeatures
from numrnn.sklearn.forecaster import RecurrentForecaster
from numrnn.sklearn.regressor import RecurrentRegressor

__all__ = ["RecurrentClassifier", "RecurrentFeatures", "RecurrentForecaster", "RecurrentRegressor"]

del _sklearn
