"""What is known of a tensor of a graph without running it: whose numbers stand where.

A recurrent model moves numbers about and computes with them in few places. So a tensor is described by its `pieces`,
each the output, a last state or an input of one direction of one node, and by its axes. An axis is a group of atoms:
the time or batch of the graph's input, `PIECES` (which piece) and `FEATURES` (which number of a piece). Transposes,
reshapes, splits and concatenations only rearrange the two, and what a graph means can be read off its outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

__all__ = ["FEATURES", "PIECES", "Dim", "Group", "Piece", "Tensor", "Value", "Zeros"]

Dim: TypeAlias = int | str
"""A number, or the name of an axis whose size only a call knows."""
Group: TypeAlias = tuple[str, ...]
"""The atoms of one axis, the outer one first; none in an axis of one entry."""

PIECES, FEATURES = "pieces", "features"


class Piece(NamedTuple):
    """One block of features.

    `kind` is "input", "given" (a state that the caller passes), "step" (a direction's h at every step), "h" or "c" (its
    states after its last step), "first step" or "last step" (its h there, where that is not its last), or "head".
    `owner` is the number of the direction or of the head, or of the row of a given state, whose input is `source`.
    """

    kind: str
    owner: int
    reverse: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Zeros:
    """Zeros of whatever shape is asked for: initial states."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor whose numbers come from the graph's input.

    `sizes` are those of its time and batch axes; `time` is the atom of time, once a recurrent node has said it.
    """

    pieces: tuple[Piece, ...]
    size: int
    axes: tuple[Group, ...]
    sizes: tuple[tuple[str, Dim], ...]
    time: str = ""

    @property
    def features(self) -> int:
        """Numbers of all pieces together."""
        return self.size * len(self.pieces)

    def atom_size(self, atom: str) -> Dim:
        """Entries of an atom."""
        if atom == PIECES:
            return len(self.pieces)
        return self.size if atom == FEATURES else dict(self.sizes)[atom]

    def dim(self, group: Group) -> Dim:
        """Entries of an axis; a product with sizes that only a call knows is a text that equals no number."""
        sizes = [self.atom_size(atom) for atom in group]
        numbers = [size for size in sizes if isinstance(size, int)]
        return math.prod(numbers) if len(numbers) == len(sizes) else "*".join(map(str, sizes))

    def holds(self, group: Group) -> bool:
        """Whether an axis has all features of all pieces, and nothing else."""
        return group == (PIECES, FEATURES) or (len(self.pieces) == 1 and group == (FEATURES,))

    def with_axes(self, axes: Sequence[Group]) -> Tensor:
        """The same numbers along other axes."""
        return replace(self, axes=tuple(axes))

    def with_pieces(self, pieces: Sequence[Piece], axes: Sequence[Group] | None = None) -> Tensor:
        """Other pieces; an axis of a single one has no atom for it."""
        axes = self.axes if axes is None else axes
        if len(pieces) == 1:
            axes = [tuple(atom for atom in group if atom != PIECES) for group in axes]
        return replace(self, pieces=tuple(pieces), axes=tuple(axes))

    def reshaped(self, target: Sequence[Dim]) -> Tensor | None:
        """The axes that a reshape to `target` gives, which may hold one -1; None where it would cut an axis.

        A number where an axis has an open size fixes the size: exporters freeze sizes half-way.
        """
        atoms = [atom for group in self.axes for atom in group]
        fixed: dict[str, Dim] = {}
        if -1 in target:
            middle = list(target).index(-1)
            front, atoms = self._groups(atoms, target[:middle], fixed)
            back, atoms = self._groups(atoms[::-1], target[:middle:-1], fixed)
            if front is None or back is None:
                return None
            groups = [*front, tuple(atoms[::-1]), *(group[::-1] for group in back[::-1])]
        else:
            front, left = self._groups(atoms, target, fixed)
            if front is None or any(self.atom_size(atom) != 1 for atom in left) or (left and not front):
                return None
            groups = [*front[:-1], (*front[-1], *left)] if left else front
        return replace(self, axes=tuple(groups), sizes=tuple((dict(self.sizes) | fixed).items()))

    def _groups(
        self, atoms: list[str], target: Sequence[Dim], fixed: dict[str, Dim]
    ) -> tuple[list[Group] | None, list[str]]:
        """Cut atoms, in order, into groups of the sizes of `target`; what is left over."""
        groups: list[Group] = []
        atoms = list(atoms)
        for dim in target:
            group: Group = ()
            if dim == 1:
                group = (atoms.pop(0),) if atoms and self.atom_size(atoms[0]) == 1 else ()
            elif atoms and isinstance(self.atom_size(atoms[0]), str) and isinstance(dim, int):
                group = (atoms.pop(0),)
                fixed[group[0]] = dim
            else:
                while atoms and (not group or self.dim(group) != dim):
                    group = (*group, atoms.pop(0))
                if (self.dim(group) if group else 1) != dim:
                    return None, atoms
            groups.append(group)
        return groups, atoms


Value: TypeAlias = NDArray[Any] | Tensor | Zeros
"""An array is a constant; one of Python objects is a shape, with numbers and names of axes."""
