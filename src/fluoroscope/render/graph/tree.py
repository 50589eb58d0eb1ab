"""The modules of a graph as a tree: children, places among siblings, lowest common containers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from fluoroscope.errors import FluoroscopeError

if TYPE_CHECKING:
    from fluoroscope.results import ModelGraph

__all__ = ["ROOT", "Tree"]

ROOT = -1
"""The container of everything: the parent of nodes at the top."""


class Tree:
    """Who is inside of what. Every node stands after its parent, so one pass builds it, at any depth.

    Ancestors are found in O(log depth) by skew-binary jump pointers (Myers 1983): networks can be nested 10,000 deep.

    Raises:
        FluoroscopeError: a node before its parent.
    """

    def __init__(self, parents: Sequence[int]) -> None:
        count = len(parents)
        self.parent = [*parents, ROOT]  # parent[-1] is ROOT's own: lists are indexed from the end, too
        self.depth = [0] * (count + 1)
        self.place = [0] * (count + 1)
        self._children: list[list[int]] = [[] for _ in range(count + 1)]
        self._jump = [ROOT] * (count + 1)
        for node, parent in enumerate(parents):
            if not ROOT <= parent < node:
                raise FluoroscopeError(
                    "the graph is not a tree of modules",
                    got=f"node {node} inside of node {parent}",
                    expected="every node after its parent",
                )
            self._enter(node, parent)

    @classmethod
    def of(cls, graph: ModelGraph) -> Tree:
        """The tree of ``graph.nodes``."""
        return cls([n.parent for n in graph.nodes])

    def _enter(self, node: int, parent: int) -> None:
        self.place[node] = len(self._children[parent])
        self._children[parent].append(node)
        self.depth[node] = self.depth[parent] + 1
        jump = self._jump[parent]
        even = self.depth[parent] - self.depth[jump] == self.depth[jump] - self.depth[self._jump[jump]]
        self._jump[node] = self._jump[jump] if even else parent

    def children(self, container: int = ROOT) -> list[int]:
        """The nodes directly inside of ``container``, in the order of execution."""
        return self._children[container]

    def containers(self) -> list[int]:
        """ROOT and every node with something inside, in order."""
        return [ROOT, *(n for n in range(len(self.parent) - 1) if self._children[n])]

    def siblings(self, one: int, other: int) -> tuple[int, int]:
        """The two children of the lowest common container in which the nodes lie; equal where one holds the other."""
        depth = min(self.depth[one], self.depth[other])
        one, other = self._raised(one, depth), self._raised(other, depth)
        while self.parent[one] != self.parent[other]:
            if self._jump[one] != self._jump[other]:
                one, other = self._jump[one], self._jump[other]
            else:
                one, other = self.parent[one], self.parent[other]
        return one, other

    def _raised(self, node: int, depth: int) -> int:
        """The ancestor of ``node`` (or itself) at ``depth``."""
        while self.depth[node] > depth:
            jump = self._jump[node]
            node = jump if self.depth[jump] >= depth else self.parent[node]
        return node

    def visible(self, opened: Collection[int]) -> list[int]:
        """For every node the one that is seen in its place while only ``opened`` containers are open."""
        seen = [ROOT] * (len(self.parent) - 1)
        for node, parent in enumerate(self.parent[:-1]):
            hidden = parent != ROOT and (seen[parent] != parent or parent not in opened)
            seen[node] = seen[parent] if hidden else node
        return seen
