"""What a network computes, as a graph: operations, and the type on every edge."""

from qstudy.methods.graphs.graph import Edge, Graph, Node
from qstudy.methods.graphs.tracing import trace

__all__ = ["Edge", "Graph", "Node", "trace"]
