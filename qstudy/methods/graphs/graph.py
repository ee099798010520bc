"""A computation graph as plain data: nodes, edges with their types, and parts of it."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Node:
    """One box: `kind` is input, parameter, operation or output.

    `name` is the node's in torch.fx, the path of a module with "_" for ".".
    """

    name: str
    kind: str
    operation: str


@dataclass(frozen=True)
class Edge:
    """One tensor on its way from `source` to `target`, both names of nodes.

    `dtype` as torch calls it, `bits` of one element. `grid` is the bits of the codes
    whose values a float holds, 0 where it may hold any.
    """

    source: str
    target: str
    dtype: str
    bits: int
    grid: int


@dataclass(frozen=True)
class Graph:
    """Nodes in the order in which they run, and the edges between them."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def part(self, *, after: str, until: str = "") -> Graph:
        """What lies behind the node `after`, up to `until` or to the output.

        Parameters stay with the operations that read them. `after` is now the input
        "previous layers"; what follows `until` is the output "next layers". Raises
        ValueError where there is no such node.
        """
        names = [node.name for node in self.nodes]
        for wanted in filter(None, (after, until)):
            if wanted not in names:
                raise ValueError(f"node {wanted!r} is not one of {names}")
        forwards = [(edge.source, edge.target) for edge in self.edges]
        backwards = [(target, source) for source, target in forwards]
        inner = _reached({after}, forwards) - {after}
        if until:
            inner &= _reached({until}, backwards)
        # Behind these, what does not come from the network's input: parameters.
        data = _reached({n.name for n in self.nodes if n.kind == "input"}, forwards)
        inner |= _reached(inner, [way for way in backwards if way[1] not in data])
        nodes = [
            Node(after, "input", "previous layers") if node.name == after else node
            for node in self.nodes
            if node.name in inner | {after}
        ]
        edges = [edge for edge in self.edges if edge.target in inner]
        if until:
            leaving = next(edge for edge in self.edges if edge.source == until)
            edges.append(replace(leaving, target="next"))
            nodes.append(Node("next", "output", "next layers"))
        return Graph(tuple(nodes), tuple(edges))

    def last_of(self, path: str) -> str:
        """The name of the last operation at or below the module `path`.

        Raises ValueError where there is none.
        """
        name = path.replace(".", "_")
        starts = (name, f"network_{name}")  # the second in a QuantizedResNet
        found = [
            node.name
            for node in self.nodes
            if node.kind == "operation" and node.name.startswith(starts)
        ]
        if not found:
            raise ValueError(f"no operation of the graph is at {path!r}")
        return found[-1]


def _reached(starts: set[str], ways: list[tuple[str, str]]) -> set[str]:
    """`starts`, and all that the pairs (from, to) of `ways` lead to from there."""
    found, ahead = set(starts), list(starts)
    while ahead:
        here = ahead.pop()
        for source, target in ways:
            if source == here and target not in found:
                found.add(target)
                ahead.append(target)
    return found
