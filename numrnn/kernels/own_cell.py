"""A user's own cell: what calls the functions that a user writes, and the templates of its entry kernels.

A tag of `tag_of` gives the driver what `recurrence` says of a cell. The user's functions see vectors of hidden units in
tuples, in the order of the cell's definition; which rows, layouts and offsets these are is said here.

A panel covers as many vectors of hidden units as fill the tile: `blocks`. Sums of a split candidate are its input side
and then its recurrent side, behind those of the gates. A slab begins with a candidate's adjoint, and ends with those of
the cell's vectors.
"""

from numrnn._jit import CellTag, inlined_kernel, int64, kernel, prange
from numrnn.kernels import tile
from numrnn.kernels.products import sum_gradients
from numrnn.kernels.recurrence import forward_task, no, no_finish, no_finish_backward, no_operand, yes
from numrnn.kernels.recurrence_backward import backward_task
from numrnn.kernels.several import add_several, load_several, store_several
from numrnn.kernels.simd import lanes, load, load_tail
from numrnn.kernels.step import step_layers
from numrnn.kernels.tasks import num_tasks
from numrnn.kernels.tile import ROW_C, ROW_D_OUTPUT, ROW_FIELDS, ROW_GATES, ROW_H, ROW_LOCAL, ROW_SLAB, ROW_STATE

# Gates and kind of candidate -> the product of a step.
SIDES = {
    (1, None): tile.FULL,
    (2, None): tile.FULL,
    (3, None): tile.THREE,
    (4, None): tile.FULL,
    (2, "split"): tile.SPLIT_OF_TWO,
    (3, "split"): tile.SPLIT_CANDIDATE,
    (2, "late"): tile.LATE_OF_TWO,
    (3, "late"): tile.LATE_CANDIDATE,
    (4, "late"): tile.LATE_OF_FOUR,
}


@kernel
def own_states(cell, hidden, h_at, cells, c_at, valid):
    """(h,) or (h, c) of LANES hidden units."""
    return load_several(hidden, h_at, 0, valid, 1) + load_several(cells, c_at, 0, valid, cell.n_cells)


@inlined_kernel
def own_epilogue(
    cell, pre, rows, unit, hidden_size, table, row, before, before_field, before_shift, cells, cells_field, cells_shift,
    target, target_field, target_shift, region, saved, c_next_shift, gates_shift, keep, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.epilogue`."""
    size = lanes(pre)
    for r in range(rows):
        line = (row + r) * ROW_FIELDS
        for block in range(cell.blocks):
            v = block * size
            at, valid = unit + v, hidden_size - unit - v
            if valid <= 0:
                break
            sums = load_several(pre, r * 4 * size + v, cell.blocks * size, size, cell.n_sums)
            states = own_states(
                cell, before, table[line + before_field] + before_shift + at,
                cells, table[line + cells_field] + cells_shift + at, valid,
            )  # fmt: skip
            vectors = load_several(panels, vectors_at + at, hidden_size, valid, cell.n_vectors)
            new, kept = cell.forward(sums, states, vectors)
            store_several(target, table[line + target_field] + target_shift + at, 0, new[:1], valid)
            store_several(saved, table[line + ROW_C] + c_next_shift + at, 0, new[1:], valid)
            if keep:
                store_several(saved, table[line + ROW_GATES] + gates_shift + at, hidden_size, kept, valid)


@kernel
def own_epilogue_backward(
    cell, hidden_size, units_from, units_to, table, row, rows,
    before, before_field, before_shift, cells, cells_field, cells_shift,
    output, output_shift, saved, c_next_shift, gates_shift, d_output, d_output_shift, has_d_output,
    arena, d_h, d_c, state_stride, slab, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.epilogue_backward`; of a late candidate all but what its operand's adjoint gives."""
    size = lanes(arena)
    for r in range(rows):
        line = (row + r) * ROW_FIELDS
        state_at = table[line + ROW_STATE] * state_stride
        for unit in range(units_from, units_to, size):
            valid = hidden_size - unit
            dh = load(arena, d_h + state_at + unit)
            if has_d_output:
                dh = dh + load_tail(d_output, table[line + ROW_D_OUTPUT] + d_output_shift + unit, valid)
            d_states = (dh,) + load_several(arena, d_c + state_at + unit, 0, size, cell.n_cells)  # noqa: RUF005
            states = own_states(
                cell, before, table[line + before_field] + before_shift + unit,
                cells, table[line + cells_field] + cells_shift + unit, valid,
            )  # fmt: skip
            new = own_states(
                cell, output, table[line + ROW_H] + output_shift + unit,
                saved, table[line + ROW_C] + c_next_shift + unit, valid,
            )  # fmt: skip
            kept = load_several(saved, table[line + ROW_GATES] + gates_shift + unit, hidden_size, valid, cell.n_kept)
            vectors = load_several(panels, vectors_at + unit, hidden_size, valid, cell.n_vectors)
            d_sums, d_before, d_vectors = cell.backward(d_states, kept, states, new, vectors)
            store_several(arena, d_h + state_at + unit, 0, d_before[:1], valid)
            store_several(arena, d_c + state_at + unit, 0, d_before[1:], valid)
            at = slab + table[line + ROW_SLAB] + unit
            cell.store_adjoints(arena, at, hidden_size, d_sums, valid)
            store_several(arena, at + cell.n_sums * hidden_size, hidden_size, d_vectors, valid)


@kernel
def store_in_order(arena, at, hidden_size, d_sums, valid):
    """Adjoints of sums as a slab has them: gates in their order."""
    store_several(arena, at, hidden_size, d_sums, valid)


@kernel
def store_split(arena, at, hidden_size, d_sums, valid):
    """The same of a split candidate: its input side, the gates, its recurrent side."""
    store_several(arena, at, hidden_size, d_sums[-2:-1], valid)
    store_several(arena, at + hidden_size, hidden_size, d_sums[:-2], valid)
    store_several(arena, at + (len(d_sums) - 1) * hidden_size, hidden_size, d_sums[-1:], valid)


@kernel
def store_late(arena, at, hidden_size, d_sums, valid):
    """The same of a late candidate: it comes first."""
    store_several(arena, at, hidden_size, d_sums[-1:], valid)
    store_several(arena, at + hidden_size, hidden_size, d_sums[:-1], valid)


# A late candidate.


@inlined_kernel
def late_epilogue(
    cell, pre, rows, unit, hidden_size, table, row, before, before_field, before_shift, cells, cells_field, cells_shift,
    target, target_field, target_shift, region, saved, c_next_shift, gates_shift, keep, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.epilogue`. Regions of `target`: the operand, the sums; it is kept behind what is kept."""
    size = lanes(pre)
    for r in range(rows):
        line = (row + r) * ROW_FIELDS
        for block in range(cell.blocks):
            v = block * size
            at, valid = unit + v, hidden_size - unit - v
            if valid <= 0:
                break
            sums = load_several(pre, r * 4 * size + v, cell.blocks * size, size, cell.n_sums)
            states = load_several(before, table[line + before_field] + before_shift + at, 0, valid, 1)
            vectors = load_several(panels, vectors_at + at, hidden_size, valid, cell.n_vectors)
            operand = (cell.operand_of(sums[:-1], states, vectors),)
            to = table[line + target_field] + target_shift + at
            store_several(target, to, region, operand, valid)
            store_several(target, to + region, region, sums, valid)
            if keep:
                kept_at = table[line + ROW_GATES] + gates_shift + cell.n_kept * hidden_size + at
                store_several(saved, kept_at, 0, operand, valid)


@inlined_kernel
def late_finish(
    cell, pre, rows, unit, columns, table, row, before, before_field, before_shift,
    operand, operand_shift, region, output, output_shift, saved, gates_shift, keep, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.finish`."""
    size = lanes(pre)
    for r in range(rows):
        line = (row + r) * ROW_FIELDS
        for v in range(0, min(4 * size, columns - unit), size):
            at, valid = unit + v, columns - unit - v
            sums_at = table[line + ROW_LOCAL] + operand_shift + region + at
            sums = load_several(operand, sums_at, region, valid, cell.n_sums)
            sums = sums[:-1] + (sums[-1] + load(pre, r * 4 * size + v),)  # noqa: RUF005
            states = load_several(before, table[line + before_field] + before_shift + at, 0, valid, 1)
            vectors = load_several(panels, vectors_at + at, columns, valid, cell.n_vectors)
            new, kept = cell.forward(sums, states, vectors)
            store_several(output, table[line + ROW_H] + output_shift + at, 0, new, valid)
            if keep:
                store_several(saved, table[line + ROW_GATES] + gates_shift + at, columns, kept, valid)


@kernel
def late_operand(
    cell, hidden_size, units_from, units_to, table, row, rows, before, before_field, before_shift,
    saved, c_next_shift, gates_shift, target, shift,
):  # fmt: skip
    """Contract: `recurrence.operand`."""
    size = lanes(target)
    for r in range(rows):
        line = (row + r) * ROW_FIELDS
        kept_at = table[line + ROW_GATES] + gates_shift + cell.n_kept * hidden_size
        for unit in range(units_from, units_to, size):
            valid = hidden_size - unit
            operand = load_several(saved, kept_at + unit, 0, valid, 1)
            store_several(target, table[line + ROW_LOCAL] + shift + unit, 0, operand, valid)


@kernel
def late_finish_backward(
    cell, hidden_size, units_from, units_to, table, row, rows, before, before_field, before_shift, saved, gates_shift,
    arena, d_h, d_operand, state_stride, slab, panels, vectors_at,
):  # fmt: skip
    """Contract: `recurrence.finish_backward`."""
    size = lanes(arena)
    for r in range(rows):
        line = (row + r) * ROW_FIELDS
        state_at = table[line + ROW_STATE] * state_stride
        for unit in range(units_from, units_to, size):
            valid = hidden_size - unit
            q = load(arena, d_operand + state_at + unit)
            kept = load_several(saved, table[line + ROW_GATES] + gates_shift + unit, hidden_size, valid, cell.n_kept)
            states = load_several(before, table[line + before_field] + before_shift + unit, 0, valid, 1)
            vectors = load_several(panels, vectors_at + unit, hidden_size, valid, cell.n_vectors)
            d_gates, d_before, d_vectors = cell.operand_backward(q, kept, states, vectors)
            at = slab + table[line + ROW_SLAB] + unit
            add_several(arena, at + hidden_size, hidden_size, d_gates, valid)
            add_several(arena, d_h + state_at + unit, 0, d_before, valid)
            add_several(arena, at + cell.n_sums * hidden_size, hidden_size, d_vectors, valid)


# One step of units that have no neighbours, for a check: a late candidate's product is one with a number for each unit.


@kernel
def complete_sums(cell, sums, states, vectors, weight):
    """The sums as `forward` sees them."""
    return sums


@kernel
def complete_late(cell, sums, states, vectors, weight):
    """The same with a late candidate."""
    return sums[:-1] + (sums[-1] + weight * cell.operand_of(sums[:-1], states, vectors),)  # noqa: RUF005


@kernel
def no_more_adjoints(cell, d_sums, kept, states, vectors, weight, found, at, count, valid):
    """All adjoints are there."""


@kernel
def more_adjoints(cell, d_sums, kept, states, vectors, weight, found, at, count, valid):
    """Add what comes through a late candidate's operand."""
    d_gates, d_before, d_vectors = cell.operand_backward(weight * d_sums[-1], kept, states, vectors)
    add_several(found, at, count, d_gates, valid)
    add_several(found, at + cell.n_sums * count, count, d_before, valid)
    add_several(found, at + (cell.n_sums + 1) * count, count, d_vectors, valid)


def tag_of(name, spec, functions):
    """The tag of a cell as its user defined it, of the user's functions; `name` tells it from all others."""
    split, late = spec.candidate == "split", spec.candidate == "late"
    n_sums = spec.num_gates + split
    return CellTag(
        name,
        sides=SIDES[spec.num_gates, spec.candidate],
        epilogue=late_epilogue if late else own_epilogue,
        epilogue_backward=own_epilogue_backward,
        has_c=yes if spec.has_cell_state else no,
        finish=late_finish if late else no_finish,
        operand=late_operand if late else no_operand,
        finish_backward=late_finish_backward if late else no_finish_backward,
        store_adjoints=store_split if split else store_late if late else store_in_order,
        complete=complete_late if late else complete_sums,
        more_adjoints=more_adjoints if late else no_more_adjoints,
        blocks=tile.VECTORS // n_sums,
        n_sums=n_sums,
        n_cells=int(spec.has_cell_state),
        n_kept=len(spec.saved),
        n_vectors=len(spec.vectors),
        **{"operand_of" if name == "operand" else name: function for name, function in functions.items()},
    )


# Templates: `_jit.entry_of_cell` makes them entry kernels of a cell, whose tag stands for CELL.

CELL = CellTag("template")


def forward_serial(plan, x, panels, h_0, output, saved, scratch, resets):
    """Contract: `recurrence.forward_task`, for all tasks."""
    for task in range(num_tasks(plan)):
        forward_task(CELL, task, plan, x, panels, h_0, output, saved, scratch, resets)


def forward_parallel(plan, x, panels, h_0, output, saved, scratch, resets):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        forward_task(CELL, int64(task), plan, x, panels, h_0, output, saved, scratch, resets)


def backward_serial(plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """Contract: `recurrence_backward.backward_task`, for all tasks, and then `products.sum_gradients`."""
    for task in range(num_tasks(plan)):
        backward_task(CELL, task, plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets)
    sum_gradients(plan, arena, found)


def backward_parallel(plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets):
    """The parallel twin."""
    for task in prange(num_tasks(plan)):
        backward_task(CELL, int64(task), plan, x, panels, h_0, output, saved, d_output, d_x, found, arena, resets)


def step(plan, panels, x, memory, n_rows):
    """Contract: `step.step_layers`."""
    step_layers(CELL, plan, panels, x, memory, n_rows)


def points_forward(count, given, found):
    """One step of `count` units.

    given   sums, states, vectors, a weight, `count` numbers each   read
    found   states, kept                                            written
    """
    size = lanes(given)
    for unit in range(0, count, size):
        valid = count - unit
        sums = load_several(given, unit, count, valid, CELL.n_sums)
        at = unit + CELL.n_sums * count
        states = own_states(CELL, given, at, given, at + count, valid)
        vectors = load_several(given, at + (1 + CELL.n_cells) * count, count, valid, CELL.n_vectors)
        weight = load_tail(given, at + (1 + CELL.n_cells + CELL.n_vectors) * count, valid)
        new, kept = CELL.forward(CELL.complete(CELL, sums, states, vectors, weight), states, vectors)
        store_several(found, unit, count, new, valid)
        store_several(found, unit + (1 + CELL.n_cells) * count, count, kept, valid)


def points_backward(count, given, found):
    """Its adjoint.

    given   adjoints of the states, kept, states before and after, vectors, a weight   read
    found   adjoints of sums, states before, vectors                                   written
    """
    size = lanes(given)
    n_states = 1 + CELL.n_cells
    for unit in range(0, count, size):
        valid = count - unit
        d_states = own_states(CELL, given, unit, given, unit + count, valid)
        at = unit + n_states * count
        kept = load_several(given, at, count, valid, CELL.n_kept)
        at += CELL.n_kept * count
        states = own_states(CELL, given, at, given, at + count, valid)
        at += n_states * count
        new = own_states(CELL, given, at, given, at + count, valid)
        at += n_states * count
        vectors = load_several(given, at, count, valid, CELL.n_vectors)
        weight = load_tail(given, at + CELL.n_vectors * count, valid)
        d_sums, d_before, d_vectors = CELL.backward(d_states, kept, states, new, vectors)
        store_several(found, unit, count, d_sums, valid)
        store_several(found, unit + CELL.n_sums * count, count, d_before, valid)
        store_several(found, unit + (CELL.n_sums + n_states) * count, count, d_vectors, valid)
        CELL.more_adjoints(CELL, d_sums, kept, states, vectors, weight, found, unit, count, valid)
