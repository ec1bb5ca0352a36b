"""One step of an optimiser on one array: the weights, the gradient and the rule's running values, read once.

A rule says what becomes of one number, in operations that NumPy's arrays have too; so it is also the reference.
"""

import numpy as np

from numrnn._jit import CellTag, entry_kernel, kernel

SETTINGS = 7  # numbers that a rule may read


@kernel
def sgd_rule(settings, weight, gradient):
    """settings: lr, weight decay."""
    return weight - settings[0] * (gradient + settings[1] * weight)


@kernel
def sgd_momentum_rule(settings, weight, gradient, momentum):
    """settings: lr, weight decay, momentum, 1 for Nesterov's form."""
    gradient = gradient + settings[1] * weight
    momentum = settings[2] * momentum + gradient
    step = gradient + settings[2] * momentum if settings[3] else momentum
    return weight - settings[0] * step, momentum


@kernel
def rmsprop_rule(settings, weight, gradient, square):
    """settings: lr, weight decay, alpha, 1 - alpha, eps."""
    gradient = gradient + settings[1] * weight
    square = settings[2] * square + settings[3] * gradient * gradient
    return weight - settings[0] * gradient / (np.sqrt(square) + settings[4]), square


@kernel
def rmsprop_momentum_rule(settings, weight, gradient, square, momentum):
    """settings: lr, weight decay, alpha, 1 - alpha, eps, momentum."""
    gradient = gradient + settings[1] * weight
    square = settings[2] * square + settings[3] * gradient * gradient
    momentum = settings[5] * momentum + gradient / (np.sqrt(square) + settings[4])
    return weight - settings[0] * momentum, square, momentum


@kernel
def adam_rule(settings, weight, gradient, mean, square):
    """settings: lr / (1 - beta_1^t), weights' own factor, 1 - beta_1, beta_2, 1 - beta_2, sqrt(1 - beta_2^t), eps.

    Source: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2, where the second setting is not 1.
    """
    mean = mean + settings[2] * (gradient - mean)
    square = settings[3] * square + settings[4] * gradient * gradient
    step = settings[0] * mean / (np.sqrt(square) / settings[5] + settings[6])
    return settings[1] * weight - step, mean, square


# a function passed as an argument would keep the kernel from the disk cache
_SGD_MOMENTUM, _RMSPROP = CellTag("sgd_momentum", rule=sgd_momentum_rule), CellTag("rmsprop", rule=rmsprop_rule)
_RMSPROP_MOMENTUM = CellTag("rmsprop_momentum", rule=rmsprop_momentum_rule)
_ADAM = CellTag("adam", rule=adam_rule)


@kernel
def _is_finite(value):
    difference = value - value
    return difference == difference


@kernel
def _unpacked(settings):
    """As numbers in registers: nothing that is written can be one of them."""
    return settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6]


@kernel
def _with_one(tag, settings, weight, gradient, slots, fresh, fresh_slots):
    """Contract: `sgd`, for a rule with one running value."""
    settings = _unpacked(settings)
    first, fresh_first = slots[0], fresh_slots[0]
    finite = True
    for k in range(weight.size):
        a, b = tag.rule(settings, weight[k], gradient[k], first[k])
        fresh[k], fresh_first[k] = a, b
        finite &= _is_finite(a) & _is_finite(b)
    return finite


@kernel
def _with_two(tag, settings, weight, gradient, slots, fresh, fresh_slots):
    """Contract: `sgd`, for a rule with two running values."""
    settings = _unpacked(settings)
    first, fresh_first, second, fresh_second = slots[0], fresh_slots[0], slots[1], fresh_slots[1]
    finite = True
    for k in range(weight.size):
        a, b, c = tag.rule(settings, weight[k], gradient[k], first[k], second[k])
        fresh[k], fresh_first[k], fresh_second[k] = a, b, c
        finite &= _is_finite(a) & _is_finite(b) & _is_finite(c)
    return finite


@entry_kernel
def sgd(settings, weight, gradient, slots, fresh, fresh_slots):
    """Take one step; return whether all that was written is finite.

    settings     (SETTINGS,)      read      as `sgd_rule` says
    weight       (n,)             read
    gradient     (n,)             read
    slots        (running, n)     read      the rule's running values
    fresh        (n,)             written   the new weights
    fresh_slots  (running, n)     written   their new running values

    All of one dtype, and nothing that is written is the memory of anything else.
    """
    settings = _unpacked(settings)
    finite = True
    for k in range(weight.size):
        a = sgd_rule(settings, weight[k], gradient[k])
        fresh[k] = a
        finite &= _is_finite(a)
    return finite


@entry_kernel
def sgd_momentum(settings, weight, gradient, slots, fresh, fresh_slots):
    """Contract: `sgd`, by `sgd_momentum_rule`."""
    return _with_one(_SGD_MOMENTUM, settings, weight, gradient, slots, fresh, fresh_slots)


@entry_kernel
def rmsprop(settings, weight, gradient, slots, fresh, fresh_slots):
    """Contract: `sgd`, by `rmsprop_rule`."""
    return _with_one(_RMSPROP, settings, weight, gradient, slots, fresh, fresh_slots)


@entry_kernel
def rmsprop_momentum(settings, weight, gradient, slots, fresh, fresh_slots):
    """Contract: `sgd`, by `rmsprop_momentum_rule`."""
    return _with_two(_RMSPROP_MOMENTUM, settings, weight, gradient, slots, fresh, fresh_slots)


@entry_kernel
def adam(settings, weight, gradient, slots, fresh, fresh_slots):
    """Contract: `sgd`, by `adam_rule`."""
    return _with_two(_ADAM, settings, weight, gradient, slots, fresh, fresh_slots)
