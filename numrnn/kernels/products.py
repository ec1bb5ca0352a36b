"""Products over many rows: weight gradients, summed block by block, and dense layers.

A weight gradient is left^T @ right, where line k of `left` holds the adjoints of one row's pre-activations and line k
of `right` what the weights were multiplied with. K is cut into blocks of K_BLOCK lines; each block's sum starts from
zero and is then added to the gradient, so the order of additions depends on the shapes alone. Both operands are packed:
right by panels of up to 4 vectors of columns, left by ROWS columns, so that a tile reads both front to back.
"""

from numrnn._jit import entry_kernel, int64, kernel, parallel_kernel, prange
from numrnn.kernels.simd import flush_denormals, lanes, load, load_tail, restore_mode, splat, store, store_tail
from numrnn.kernels.tasks import N_SUMS, SUMS_AT
from numrnn.kernels.tile import ROW_FIELDS, ROW_RANK, ROWS, VECTORS, outer_product

K_BLOCK = 512

# Fields of a weight gradient's request of WG_SIZE numbers: one left operand, N_RIGHTS right ones of RIGHT_FIELDS
# each, N_BIASES sums of the left operand's columns, then the first tile of each task. A gradient has a row for each of
# the left columns LEFT_BEGIN..LEFT_END: the first of them is its row LEFT_FIRST, and after its last row comes row 0.
(
    WG_SIZE, WG_N_TASKS, WG_LINES, WG_ADD, WG_LEFT_AT, WG_LEFT_STRIDE, WG_WIDTH, WG_PACKED_AT, WG_PRE_AT, WG_SUMS_AT,
    WG_N_RIGHTS, WG_N_BIASES, WG_FIELDS,
) = range(13)  # fmt: skip
FOUND_AT, LEFT_BEGIN, LEFT_END, LEFT_FIRST, BIAS_FIELDS = range(5)
RIGHT_AT, RIGHT_COLUMNS, RIGHT_FIELDS = range(BIAS_FIELDS, BIAS_FIELDS + 3)


@kernel
def panel_vectors(columns, panel, size):
    """Vectors of a panel over `columns` columns: 4, fewer in the last one."""
    left = columns - panel * VECTORS * size
    return min(VECTORS, (left + size - 1) // size)


@kernel
def pack_rows(source, field, shift, table, first, count, columns, panels_from, panels_to, arena, target, lines, line):
    """Copy `count` rows of `source` into panels of a right operand of `lines` lines, as lines `line` + ROW_RANK.

    source   row offsets field + shift   read, `columns` numbers a row
    arena    from target on              written; columns that are not there become 0
    """
    size = lanes(arena)
    width = VECTORS * size
    for panel in range(panels_from, panels_to):
        vectors = panel_vectors(columns, panel, size)
        for row in range(first, first + count):
            at = table[row * ROW_FIELDS + field] + shift + panel * width
            to = target + panel * width * lines + (line + table[row * ROW_FIELDS + ROW_RANK]) * vectors * size
            for v in range(vectors):
                value = load_tail(source, at + v * size, columns - panel * width - v * size)
                store(arena, to + v * size, value)


@kernel
def _found_row(column, begin, end, first):
    """Row of a gradient that a left column belongs to; negative where there is none."""
    if column < begin or column >= end:
        return -1
    row = column - begin + first
    return row if row < end - begin else row - (end - begin)


@kernel
def _pack_left(plan, left, column, begin, lines, arena, packed, found):
    """Pack ROWS columns of `left` from `column` on, lines begin..begin + lines, and add up each column.

    A vector is wider than a tile has rows: what it writes too much is overwritten by the next line, or is padding.
    """
    size = lanes(arena)
    left_at, stride, sums = plan[WG_LEFT_AT], plan[WG_LEFT_STRIDE], plan[WG_SUMS_AT] + column
    for back in range((ROWS + size - 1) // size):
        v = ((ROWS - 1) // size - back) * size
        valid = plan[WG_WIDTH] - column - v
        total = splat(arena, 0.0)
        for k in range(lines):
            value = load_tail(left, left_at + (begin + k) * stride + column + v, valid)
            total = total + value
            store(arena, packed + k * ROWS + v, value)
        count = min(valid, ROWS - v)
        if plan[WG_ADD] or begin + lines < plan[WG_LINES]:
            total = load_tail(arena, sums + v, count) + total
        store_tail(arena, sums + v, total, count)
    for bias in range(plan[WG_N_BIASES] if begin == 0 else 0):
        field = WG_FIELDS + plan[WG_N_RIGHTS] * RIGHT_FIELDS + bias * BIAS_FIELDS
        at, first_row = plan[field + FOUND_AT], plan[field + LEFT_FIRST]
        left_begin, left_end = plan[field + LEFT_BEGIN], plan[field + LEFT_END]
        for r in range(ROWS):
            row = _found_row(column + r, left_begin, left_end, first_row)
            if row >= 0:
                found[at + row] = arena[sums + r]


@kernel
def _add_products(plan, field, arena, begin, lines, first, last, packed, packed_size, pre, found):
    """found += left^T @ right over one block of K, for those of the left operand's tiles first..last that meet it.

    The last block of all is the first that is summed: it is stored.
    """
    size = lanes(arena)
    width = VECTORS * size
    columns = plan[field + RIGHT_COLUMNS]
    add = plan[WG_ADD] or begin + lines < plan[WG_LINES]
    found_at, first_row = plan[field + FOUND_AT], plan[field + LEFT_FIRST]
    left_begin, left_end = plan[field + LEFT_BEGIN], plan[field + LEFT_END]
    begin_tile = max(first, left_begin // ROWS)
    end_tile = min(last, (left_end + ROWS - 1) // ROWS)
    for panel in range((columns + width - 1) // width):
        vectors = panel_vectors(columns, panel, size)
        right = plan[field + RIGHT_AT] + panel * width * plan[WG_LINES] + begin * vectors * size
        for tile in range(begin_tile, end_tile):
            outer_product(vectors, pre, arena, packed + (tile - first) * packed_size, arena, right, lines)
            for r in range(ROWS):
                row = _found_row(tile * ROWS + r, left_begin, left_end, first_row)
                if row >= 0:
                    to = found_at + row * columns + panel * width
                    for v in range(vectors):
                        at, valid = to + v * size, columns - panel * width - v * size
                        value = load(pre, (r * vectors + v) * size)
                        if add:
                            value = load_tail(found, at, valid) + value
                        store_tail(found, at, value, valid)


@kernel
def weight_gradient_task(task, plan, left, arena, found):
    """One task's share of the rows of a weight gradient, all blocks of K from the last to the first.

    left    (lines, width)   read     from WG_LEFT_AT, lines WG_LEFT_STRIDE apart
    arena                    read     right operands, packed by `pack_rows`
                             written  the share's packed left operand, a tile, column sums of left
    found   rows FOUND_AT    written  gradients, C-contiguous; read too but for the first block summed
    """
    mode = flush_denormals()
    lines = plan[WG_LINES]
    tasks_at = WG_FIELDS + plan[WG_N_RIGHTS] * RIGHT_FIELDS + plan[WG_N_BIASES] * BIAS_FIELDS
    first, last = plan[tasks_at + task], plan[tasks_at + task + 1]
    size = lanes(arena)
    packed_size = min(lines, K_BLOCK) * ROWS + size
    packed = plan[WG_PACKED_AT] + first * packed_size
    at = plan[WG_PRE_AT] + task * ROWS * VECTORS * size
    pre = arena[at : at + ROWS * VECTORS * size]
    n_blocks = (lines + K_BLOCK - 1) // K_BLOCK
    for back in range(n_blocks):
        begin = (n_blocks - 1 - back) * K_BLOCK
        count = min(K_BLOCK, lines - begin)
        for tile in range(first, last):
            _pack_left(plan, left, tile * ROWS, begin, count, arena, packed + (tile - first) * packed_size, found)
        for right in range(plan[WG_N_RIGHTS]):
            field = WG_FIELDS + right * RIGHT_FIELDS
            _add_products(plan, field, arena, begin, count, first, last, packed, packed_size, pre, found)
    restore_mode(mode)


@kernel
def sum_gradients(plan, arena, found):
    """The weight gradients of a block that one thread has just run: the requests that a backward plan holds."""
    at = plan[SUMS_AT]
    for _ in range(plan[N_SUMS]):
        request = plan[at:]
        for task in range(request[WG_N_TASKS]):
            weight_gradient_task(task, request, arena, arena, found)
        at += request[WG_SIZE]


@entry_kernel
def weight_gradient_serial(plan, left, arena, found):
    """Contract: `weight_gradient_task`, for all tasks."""
    for task in range(plan[WG_N_TASKS]):
        weight_gradient_task(task, plan, left, arena, found)


@parallel_kernel
def weight_gradient_parallel(plan, left, arena, found):
    """The parallel twin."""
    for task in prange(plan[WG_N_TASKS]):
        weight_gradient_task(int64(task), plan, left, arena, found)
