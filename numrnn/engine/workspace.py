"""What forward keeps for backward beside outputs: where cell states and gates stand."""

from __future__ import annotations

from dataclasses import dataclass

from numrnn.engine.buffers import Array
from numrnn.engine.plan import Plan


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where one layer keeps cell states and gates, directions one after the other.

    Cell states of a direction are (steps + 1, N, H), gates (steps, N, saved * H), both in order of time; those of a
    segment in the order in which the direction processes its steps. Without `keep` there is one slot of cell states and
    nothing else.
    """

    steps: int
    batch_size: int
    hidden_size: int
    n_saved: int
    has_c: bool
    keep: bool
    is_segment: bool = False

    @classmethod
    def of(cls, plan: Plan, *, keep: bool, segment: int | None = None) -> Workspace:
        """The workspace of each layer of a call, or of a segment of so many steps."""
        spec, steps = plan.spec, plan.seq_len if segment is None else segment
        sizes = (steps, plan.batch_size, plan.hidden_size, len(spec.saved))
        return cls(*sizes, spec.has_cell_state, keep, segment is not None)

    @property
    def slots(self) -> int:
        """Slots of cell states: one more than steps where all are kept."""
        return (self.steps + 1 if self.keep else 1) if self.has_c else 0

    @property
    def a_state(self) -> int:
        """Numbers of the cell states of one step."""
        return self.batch_size * self.hidden_size

    @property
    def cells_size(self) -> int:
        """Numbers of a direction's cell states."""
        return self.slots * self.batch_size * self.hidden_size

    @property
    def size(self) -> int:
        """Numbers of a direction."""
        gates = self.steps * self.batch_size * self.n_saved * self.hidden_size if self.keep else 0
        return self.cells_size + gates

    def cells(self, workspace: Array, d: int) -> Array:
        """A direction's cell states: (slots, N, H), a view."""
        at = d * self.size
        return workspace[at : at + self.cells_size].reshape(self.slots, self.batch_size, self.hidden_size)

    def gates(self, workspace: Array, d: int) -> Array:
        """A direction's gates: (steps, N, saved, H), a view."""
        at = d * self.size
        kept = workspace[at + self.cells_size : at + self.size]
        return kept.reshape(self.steps, self.batch_size, self.n_saved, self.hidden_size)
