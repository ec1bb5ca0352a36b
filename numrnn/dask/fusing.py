"""Tasks of x that one chunk alone needs, made part of the task that reads the chunk.

Chunks of time are read one after the other. Left to themselves, idle workers would make the later ones long before
their turn, and keep them: the memory that cutting x was to save.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Any

import dask
from dask.core import flatten

__all__ = ["Sources"]

Tasks = dict[Hashable, Any]


class Sources:
    """The tasks that make x: `own[key]` are those that block `key` alone needs, `shared` the others.

    Where x is already in the memory of workers there is nothing to make: then `held` is True and nothing is taken over.
    """

    own: dict[Hashable, list[Any]]
    shared: Tasks
    held: bool

    def __init__(self, x: Any) -> None:
        with dask.config.set({"optimization.fuse.active": None}):
            tasks: Tasks = dict(x.__dask_optimize__(x.__dask_graph__(), x.__dask_keys__()))
        blocks = list(flatten(x.__dask_keys__()))
        self.held = any(dependency not in tasks for task in tasks.values() for dependency in task.dependencies)
        self.held = self.held or any(key not in tasks for key in blocks)
        self.own, self.shared = {key: [] for key in blocks}, {}
        if not self.held:
            self._divide(tasks, blocks)

    def _divide(self, tasks: Tasks, blocks: Iterable[Hashable]) -> None:
        """Deal out the tasks."""
        n_dependents: dict[Hashable, int] = defaultdict(int)
        for task in tasks.values():
            for dependency in task.dependencies:
                n_dependents[dependency] += 1
        taken: set[Hashable] = set()
        for block in blocks:
            if n_dependents[block]:
                continue  # another block is made of this one
            waiting, seen = [block], dict[Hashable, int]()
            while waiting:
                key = waiting.pop()
                self.own[block].append(tasks[key])
                taken.add(key)
                for dependency in tasks[key].dependencies:
                    seen[dependency] = seen.get(dependency, 0) + 1
                    if seen[dependency] == n_dependents[dependency]:
                        waiting.append(dependency)
        self.shared = {key: task for key, task in tasks.items() if key not in taken}
