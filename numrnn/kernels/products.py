"""Products over many rows: weight gradients, summed block by block, and dense layers.

A weight gradient is left^T @ right, where line k of `left` holds the adjoints of one row's pre-activations and line k
of `right` what the weights were multiplied with. K is cut into blocks of K_BLOCK lines; each block's sum starts from
zero and is then added to the total, so the order of additions depends on the shapes alone. Both operands are packed:
right by panels of up to 4 vectors of columns, left by ROWS columns, so that a tile reads both front to back.
"""

from numrnn._jit import entry_kernel, int64, kernel, parallel_kernel, prange
from numrnn.kernels.simd import flush_denormals, lanes, load, load_tail, restore_mode, splat, store, store_tail
from numrnn.kernels.tile import ROW_FIELDS, ROW_RANK, ROWS, VECTORS, outer_product

K_BLOCK = 512

# Fields of a weight gradient's request: one left operand, N_RIGHTS right ones of RIGHT_FIELDS each, then the first
# tile of each task. A right operand meets the left columns LEFT_BEGIN..LEFT_END alone.
(
    WG_N_TASKS, WG_LINES, WG_LEFT_AT, WG_LEFT_STRIDE, WG_WIDTH, WG_PACKED_AT, WG_PRE_AT, WG_BIAS_AT, WG_N_RIGHTS,
    WG_FIELDS,
) = range(10)  # fmt: skip
RIGHT_AT, RIGHT_COLUMNS, RIGHT_TOTAL_AT, RIGHT_LEFT_BEGIN, RIGHT_LEFT_END, RIGHT_FIELDS = range(6)


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
def _pack_left(left, at, stride, column, width, begin, lines, arena, packed, bias_at):
    """Pack ROWS columns of `left` from `column` on, lines begin..begin + lines, and add up each column.

    A vector is wider than a tile has rows: what it writes too much is overwritten by the next line, or is padding.
    """
    size = lanes(arena)
    for back in range((ROWS + size - 1) // size):
        v = ((ROWS - 1) // size - back) * size
        valid = width - column - v
        total = splat(arena, 0.0)
        for k in range(lines):
            value = load_tail(left, at + (begin + k) * stride + column + v, valid)
            total = total + value
            store(arena, packed + k * ROWS + v, value)
        count = min(valid, ROWS - v)
        before = load_tail(arena, bias_at + column + v, count)
        store_tail(arena, bias_at + column + v, before + total, count)


@kernel
def _add_products(plan, right_field, arena, begin, lines, first, last, packed, packed_size, pre):
    """total += left^T @ right over one block of K, for those of the left operand's tiles first..last that meet it."""
    size = lanes(arena)
    width = VECTORS * size
    columns = plan[right_field + RIGHT_COLUMNS]
    stride = (columns + size - 1) // size * size
    begin_tile = max(first, plan[right_field + RIGHT_LEFT_BEGIN] // ROWS)
    end_tile = min(last, (plan[right_field + RIGHT_LEFT_END] + ROWS - 1) // ROWS)
    for panel in range((columns + width - 1) // width):
        vectors = panel_vectors(columns, panel, size)
        right = plan[right_field + RIGHT_AT] + panel * width * plan[WG_LINES] + begin * vectors * size
        for tile in range(begin_tile, end_tile):
            outer_product(vectors, pre, arena, packed + (tile - first) * packed_size, arena, right, lines)
            for r in range(ROWS):
                to = plan[right_field + RIGHT_TOTAL_AT] + (tile * ROWS + r) * stride + panel * width
                for v in range(vectors):
                    at = to + v * size
                    store(arena, at, load(arena, at) + load(pre, (r * vectors + v) * size))


@kernel
def weight_gradient_task(task, plan, left, arena):
    """One task's share of the rows of a weight gradient, all blocks of K from the last to the first.

    left    (lines, width)   read     from WG_LEFT_AT, lines WG_LEFT_STRIDE apart
    arena                    read     right operands, packed by `pack_rows`
                             written  the share's packed left operand, a tile; totals, column sums of left
    """
    mode = flush_denormals()
    width, lines = plan[WG_WIDTH], plan[WG_LINES]
    tasks_at = WG_FIELDS + plan[WG_N_RIGHTS] * RIGHT_FIELDS
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
            _pack_left(
                left, plan[WG_LEFT_AT], plan[WG_LEFT_STRIDE], tile * ROWS, width, begin, count,
                arena, packed + (tile - first) * packed_size, plan[WG_BIAS_AT],
            )  # fmt: skip
        for right in range(plan[WG_N_RIGHTS]):
            field = WG_FIELDS + right * RIGHT_FIELDS
            _add_products(plan, field, arena, begin, count, first, last, packed, packed_size, pre)
    restore_mode(mode)


@entry_kernel
def weight_gradient_serial(plan, left, arena):
    """Contract: `weight_gradient_task`, for all tasks."""
    for task in range(plan[WG_N_TASKS]):
        weight_gradient_task(task, plan, left, arena)


@parallel_kernel
def weight_gradient_parallel(plan, left, arena):
    """The parallel twin."""
    for task in prange(plan[WG_N_TASKS]):
        weight_gradient_task(int64(task), plan, left, arena)
