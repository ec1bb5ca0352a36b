"""The mean and the maximum of each row's steps, in order of time, and their adjoints.

A row's numbers are read at its own steps alone, one step after the other: the result depends neither on the layout of
the steps nor on other rows. Numbers of one position are taken as a view, whose indices cannot be negative, so that
loops over it are vectors.
"""

from numrnn._jit import entry_kernel, kernel

# Fields of a plan; then for each row: its first step; for each row: how many it has. Steps count positions of
# `features` numbers.
POOL_ROWS, POOL_FEATURES, POOL_STEP, POOL_FIELDS = range(4)


@kernel
def _place(plan, row, t):
    """The position of a row's step t."""
    return plan[POOL_FIELDS + row] + t * plan[POOL_STEP]


@entry_kernel
def mean_forward(plan, steps, out, sums):
    """The mean over each row's steps, summed in float64; zeros where a row has none.

    steps   (positions, features)   read
    out     (rows, features)        written
    sums    (features,)             written   float64
    """
    rows, features = plan[POOL_ROWS], plan[POOL_FEATURES]
    for row in range(rows):
        length = plan[POOL_FIELDS + rows + row]
        for k in range(features):
            sums[k] = 0.0
        for t in range(length):
            step = steps[_place(plan, row, t) * features :]
            for k in range(features):
                sums[k] += step[k]
        mean = out[row * features :]
        for k in range(features):
            mean[k] = sums[k] / max(1, length)


@entry_kernel
def mean_backward(plan, d_out, d_steps):
    """The adjoint of the mean: an equal share for each step of the row.

    d_out     (rows, features)        read
    d_steps   (positions, features)   written at steps; zero before the call
    """
    rows, features = plan[POOL_ROWS], plan[POOL_FEATURES]
    for row in range(rows):
        length = plan[POOL_FIELDS + rows + row]
        d_mean = d_out[row * features :]
        for t in range(length):
            d_step = d_steps[_place(plan, row, t) * features :]
            for k in range(features):
                d_step[k] = d_mean[k] / length


@entry_kernel
def max_forward(plan, steps, out, where):
    """The maximum over each row's steps, NaN where there is one; zeros where a row has none.

    steps   (positions, features)   read
    out     (rows, features)        written
    where   (rows, features)        written   the first position that attains it, or the first NaN's; -1 without steps
    """
    rows, features = plan[POOL_ROWS], plan[POOL_FEATURES]
    for row in range(rows):
        length = plan[POOL_FIELDS + rows + row]
        best, position_of = out[row * features :], where[row * features :]
        first = steps[_place(plan, row, 0) * features :] if length else best
        for k in range(features):
            best[k] = first[k] if length else 0.0
            position_of[k] = _place(plan, row, 0) if length else -1
        for t in range(1, length):
            position = _place(plan, row, t)
            step = steps[position * features :]
            for k in range(features):
                value, before, there = step[k], best[k], position_of[k]
                higher = (value > before) | ((value != value) & (before == before))
                best[k] = value if higher else before
                position_of[k] = position if higher else there


@entry_kernel
def max_backward(plan, where, d_out, d_steps):
    """The adjoint of the maximum: all of it to the step that attained it.

    where, d_out   (rows, features)        read
    d_steps        (positions, features)   written there; zero before the call
    """
    rows, features = plan[POOL_ROWS], plan[POOL_FEATURES]
    for at in range(rows * features):
        if where[at] >= 0:
            d_steps[where[at] * features + at % features] = d_out[at]
