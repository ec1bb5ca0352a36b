"""Losses and their gradients with respect to predictions, in one pass; computed and summed in float64.

A rule says what one number costs, and the slope there, in operations that NumPy's arrays have too; so it is also the
reference. Sums run over LANES numbers side by side, which are added in the end: an order that only sizes decide.
"""

import numpy as np

from numrnn._jit import CellTag, entry_kernel, kernel

LANES = 8


@kernel
def mse_rule(prediction, target, _setting):
    """The squared difference."""
    difference = prediction - target
    return difference * difference, 2.0 * difference


@kernel
def mae_rule(prediction, target, _setting):
    """The absolute difference; the slope at 0 is 0."""
    difference = prediction - target
    return np.abs(difference), np.sign(difference)


@kernel
def huber_rule(prediction, target, delta):
    """Half the squared difference up to delta, from there on a line.

    Source: Huber 1964, "Robust estimation of a location parameter".
    """
    difference = prediction - target
    size = np.abs(difference)
    near = np.minimum(size, delta)
    return near * (size - 0.5 * near), np.maximum(np.minimum(difference, delta), -delta)


@kernel
def binary_cross_entropy_rule(logit, target, _setting):
    """log(1 + exp(x)) - t x; the slope is sigmoid(x) - t, as a sum that does not cancel where t is 0 or 1."""
    small = np.exp(-np.abs(logit))
    positive = np.maximum(np.sign(logit), 0.0)
    sigmoid = (positive + (1.0 - positive) * small) / (1.0 + small)
    opposite = ((1.0 - positive) + positive * small) / (1.0 + small)
    return np.maximum(logit, 0.0) - logit * target + np.log1p(small), (1.0 - target) * sigmoid - target * opposite


# a function passed as an argument would keep the kernel from the disk cache
_MSE, _MAE = CellTag("mse", rule=mse_rule), CellTag("mae", rule=mae_rule)
_HUBER, _BINARY_CROSS_ENTROPY = CellTag("huber", rule=huber_rule), CellTag("bce", rule=binary_cross_entropy_rule)


@kernel
def _every_number(tag, setting, prediction, target, weights, total, sums, d_prediction):
    """Contract: `mse`. A weight of 0 hides whatever stands there."""
    weighted = weights.size > 0
    for lane in range(LANES):
        sums[lane] = 0.0
    for k in range(prediction.size):
        weight = weights[k] if weighted else 1.0
        loss, slope = tag.rule(np.float64(prediction[k]), np.float64(target[k]), setting)
        if weight == 0.0:
            d_prediction[k] = 0.0
        else:
            d_prediction[k] = weight / total * slope
            sums[k % LANES] += weight * loss
    value = 0.0
    for lane in range(LANES):
        value += sums[lane]
    return value / total


@entry_kernel
def mse(setting, prediction, target, weights, total, sums, d_prediction):
    """Return the weighted mean of a rule's losses, and write its gradient.

    setting        a number that the rule may read
    prediction     (n,)        read
    target         (n,)        read
    weights        (n,) or (0,)  read    float64, 0 or more; of size 0: all are 1
    total          their sum
    sums           (LANES,)    written   float64
    d_prediction   (n,)        written   0 where the weight is 0
    """
    return _every_number(_MSE, setting, prediction, target, weights, total, sums, d_prediction)


@entry_kernel
def mae(setting, prediction, target, weights, total, sums, d_prediction):
    """Contract: `mse`, by `mae_rule`."""
    return _every_number(_MAE, setting, prediction, target, weights, total, sums, d_prediction)


@entry_kernel
def huber(setting, prediction, target, weights, total, sums, d_prediction):
    """Contract: `mse`, by `huber_rule`."""
    return _every_number(_HUBER, setting, prediction, target, weights, total, sums, d_prediction)


@entry_kernel
def binary_cross_entropy(setting, prediction, target, weights, total, sums, d_prediction):
    """Contract: `mse`, by `binary_cross_entropy_rule`."""
    return _every_number(_BINARY_CROSS_ENTROPY, setting, prediction, target, weights, total, sums, d_prediction)


@entry_kernel
def quantile(levels, prediction, target, weights, total, d_prediction):
    """Return the weighted mean of pinball losses, and write its gradient.

    levels         (Q,)        read      float64
    prediction     (n * Q,)    read      the levels of a position side by side
    target         (n,)        read
    weights        (n,) or (0,)  read    float64, 0 or more; of size 0: all are 1
    total          sum of weights, times Q
    d_prediction   (n * Q,)    written   0 where the weight is 0 or the target is met

    Source: Koenker & Bassett 1978, "Regression quantiles", equation 3.1.
    """
    value = 0.0
    for n in range(target.size):
        weight = weights[n] if weights.size > 0 else 1.0
        at = n * levels.size
        for q in range(levels.size):
            if weight == 0.0:
                d_prediction[at + q] = 0.0
                continue
            above = np.float64(target[n]) - np.float64(prediction[at + q])
            slope = above  # 0, or NaN
            if above > 0.0:
                slope = levels[q]
            elif above < 0.0:
                slope = levels[q] - 1.0
            value += weight * (slope * above)
            d_prediction[at + q] = -weight / total * slope
    return value / total


@entry_kernel
def cross_entropy(ignored, prediction, labels, weights, class_weight, d_prediction):
    """Return the weighted mean of -log softmax at the labels, the sum of weights, and where a label is out of range.

    ignored        a label that does not count
    prediction     (n * C,)    read      the logits of a position side by side
    labels         (n,)        read      int64, 0 to C - 1
    weights        (n,) or (0,)  read    float64, 0 or more; of size 0: all are 1
    class_weight   (C,)        read      float64; a position's weight is multiplied by that of its label
    d_prediction   (n * C,)    written   0 where the weight is 0

    A label that does not count may be anything. If one that counts is out of range, the third result is its place
    (otherwise -1) and nothing is written, as where the sum of weights is 0.
    """
    classes, total = class_weight.size, 0.0
    for n in range(labels.size):
        weight = weights[n] if weights.size > 0 else 1.0
        if weight != 0.0 and labels[n] != ignored:
            if labels[n] < 0 or labels[n] >= classes:
                return 0.0, 0.0, n
            total += weight * class_weight[labels[n]]
    if total == 0.0:
        return 0.0, 0.0, -1
    value = 0.0
    for n in range(labels.size):
        at, label = n * classes, labels[n]
        weight = weights[n] if weights.size > 0 else 1.0
        if weight != 0.0:
            weight = weight * class_weight[label] if label != ignored else 0.0
        if weight == 0.0:
            for c in range(classes):
                d_prediction[at + c] = 0.0
            continue
        largest = np.float64(prediction[at])
        for c in range(1, classes):
            largest = np.maximum(largest, np.float64(prediction[at + c]))
        exponentials = 0.0
        for c in range(classes):
            part = np.exp(np.float64(prediction[at + c]) - largest)
            d_prediction[at + c] = part
            exponentials += part
        value += weight * (np.log(exponentials) - (np.float64(prediction[at + label]) - largest))
        share, others = weight / total, 0.0
        for c in range(classes):
            part = d_prediction[at + c] / exponentials
            if c != label:
                others += part
            d_prediction[at + c] = share * part
        # minus the sum of the others, which is the label's part minus 1 without cancellation
        d_prediction[at + label] = -share * others
    return value / total, total, -1
