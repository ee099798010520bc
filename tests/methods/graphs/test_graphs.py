"""Traced graphs, against what hooks and a function mode see in an ordinary call."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from qstudy.methods import graphs, simulate, static
from qstudy.methods.convert import convert
from qstudy.methods.dynamic import DynamicConfig, quantize_dynamic
from qstudy.methods.graphs import Edge, Graph, Node
from qstudy.models import zoo
from tests.methods.networks import stir

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def simulated(**changed):
    config = simulate.SimulateConfig(**{"bn_strategy": "none", **changed})
    model = stir(zoo.build("resnet8"))
    made = simulate.simulate(model, config)
    simulate.calibrate(made, [X], observer="minmax")
    return made


FORMS = {
    "original": lambda: stir(zoo.build("resnet8")),
    "dynamic": lambda: quantize_dynamic(
        stir(zoo.build("resnet8")), DynamicConfig(engine="x86")
    ),
    "static": lambda: static.quantize_static(
        stir(zoo.build("resnet8")),
        [X],
        static.StaticConfig(engine="x86", observer="minmax"),
    ),
    "fake_quantized": lambda: simulated().train(),
    "converted": lambda: convert(simulated().eval(), engine="x86"),
}


@pytest.fixture(scope="module", params=FORMS)
def form(request):
    model = FORMS[request.param]()
    return model, graphs.trace(model, X)


def told(dtype):
    return str(dtype).removeprefix("torch.")


def test_every_module_takes_and_gives_what_its_hook_saw(form):
    model, graph = form
    seen = {}

    def note(name):
        def hook(module, inputs, output):
            tensors = sorted(told(x.dtype) for x in inputs)
            seen[name] = (tensors, told(output.dtype))

        return hook

    # A call of the study's wrappers goes through the network within.
    hooked = copy.deepcopy(model)
    inner = hooked
    if not isinstance(hooked, static.QuantizedResNet):
        inner = getattr(hooked, "network", hooked)
    for path, module in inner.named_modules():
        module.register_forward_hook(note(path.replace(".", "_")))
    with torch.no_grad():
        hooked(X)
    checked = 0
    for name in seen.keys() & {node.name for node in graph.nodes}:
        packed = (f"{name}_weight", f"{name}_bias")
        inputs = [
            edge.dtype
            for edge in graph.edges
            if edge.target == name and edge.source not in packed
        ]
        outputs = {edge.dtype for edge in graph.edges if edge.source == name}
        assert (sorted(inputs), outputs) == (seen[name][0], {seen[name][1]}), name
        checked += 1
    assert checked >= 12


def test_every_layer_reads_the_weight_that_its_function_was_given(form):
    """Convolutions and linear layers, in the order of the calls."""
    model, graph = form
    called = []

    class Note(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func in (F.conv2d, torch.conv2d, F.linear):
                tensors = [a for a in args[:3] if isinstance(a, torch.Tensor)]
                called.append((func.__name__, [told(t.dtype) for t in tensors]))
            return func(*args, **(kwargs or {}))

    with Note(), torch.no_grad():
        copy.deepcopy(model)(X)
    drawn = [
        (node.operation, [e.dtype for e in graph.edges if e.target == node.name])
        for node in graph.nodes
        if node.operation in ("conv2d", "linear")
        and all(e.dtype == "float32" for e in graph.edges if e.target == node.name)
    ]
    assert drawn == called


def test_integer_layers_hold_packed_codes():
    model = FORMS["static"]()
    graph = graphs.trace(model, X)
    integer = {
        f"network_{path.replace('.', '_')}": module.weight().dtype
        for path, module in model.network.named_modules()
        if callable(getattr(module, "weight", None))
    }
    drawn = {
        edge.target: edge.dtype
        for edge in graph.edges
        if edge.source.endswith("_weight")
    }
    assert drawn == {name: told(dtype) for name, dtype in integer.items()}
    assert len(drawn) == 10 and set(drawn.values()) == {"qint8"}


@pytest.mark.parametrize("bits", [4, 8])
def test_a_grid_has_no_more_values_than_its_codes(bits):
    widths = dict.fromkeys(("weight_bits", "activation_bits", "skip_bits"), bits)
    model = simulated(**widths, first_last_bits=8).eval()
    graph = graphs.trace(model, X)
    values, wide = {}, {}
    for path, module in model.named_modules():
        name = path.replace(".", "_")
        module.register_forward_hook(lambda m, i, y, n=name: values.update({n: y}))
    with torch.no_grad():
        model(X)
    grids = {edge.source: edge.grid for edge in graph.edges}
    for name, grid in grids.items():
        if name not in values:
            continue
        y = values[name]
        rows = y.flatten(1) if name.endswith("weight_quantizer") else y.reshape(1, -1)
        most = max(len(row.unique()) for row in rows)
        if grid:
            assert most <= 2**grid, name
            wide[name] = grid
        elif most > 2**8:
            wide[name] = 0
    assert {4, 8, 0} >= set(wide.values()) >= {bits, 8, 0}


def test_what_is_not_quantized_is_drawn_so():
    class Own(nn.Linear):
        """A subclass, which dynamic quantization leaves alone."""

    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), Own(8, 4)).eval()
    made = quantize_dynamic(model, DynamicConfig(engine="x86"))
    graph = graphs.trace(made, torch.randn(2, 8))
    weights = [e.dtype for e in graph.edges if e.source.endswith("_weight")]
    assert weights == ["qint8", "float32"]


def test_a_quantizer_switched_off_gives_no_grid():
    model = simulated().eval()
    on = graphs.trace(model, X)
    path = next(p for p in simulate.quantizers(model) if p.endswith("stage1_0_conv1"))
    model.get_submodule(path).quantize(False)
    off = graphs.trace(model, X)
    changed = [
        (before.source, before.grid, after.grid)
        for before, after in zip(on.edges, off.edges, strict=True)
        if before != after
    ]
    assert changed == [(path.replace(".", "_"), 8, 0)]


def test_tracing_in_train_mode_leaves_the_network_as_it_was():
    model = simulated().train()
    before = copy.deepcopy(model.state_dict())
    graphs.trace(model, X)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_weights_and_example_decide_nothing():
    first = graphs.trace(zoo.build("resnet8", seed=0).eval(), X)
    assert first == graphs.trace(zoo.build("resnet8", seed=1).eval(), 3 * X[:1])


def edge(source, target, grid=0):
    return Edge(source, target, "float32", 32, grid)


GRAPH = Graph(
    (
        Node("x", "input", "input"),
        Node("a", "operation", "relu"),
        Node("w", "parameter", "weight"),
        Node("fq", "operation", "fake quantize"),
        Node("b", "operation", "linear"),
        Node("c", "operation", "add"),
        Node("output", "output", "output"),
    ),
    (
        edge("x", "a"),
        edge("w", "fq"),
        edge("a", "b"),
        edge("fq", "b", 8),
        edge("b", "c"),
        edge("a", "c"),
        edge("c", "output"),
    ),
)


def test_a_part_keeps_the_weights_and_names_its_ends():
    part = GRAPH.part(after="a", until="b")
    assert [n.operation for n in part.nodes] == [
        "previous layers", "weight", "fake quantize", "linear", "next layers",
    ]  # fmt: skip
    assert [(e.source, e.target) for e in part.edges] == [
        ("w", "fq"), ("a", "b"), ("fq", "b"), ("b", "next"),
    ]  # fmt: skip
    whole = GRAPH.part(after="a")
    assert {n.name for n in whole.nodes} == {"a", "w", "fq", "b", "c", "output"}
    assert set(whole.edges) == set(GRAPH.edges[1:])


def test_unknown_nodes_are_named():
    with pytest.raises(ValueError, match="node 'z' is not one of"):
        GRAPH.part(after="z")
    with pytest.raises(ValueError, match="no operation of the graph is at 'w'"):
        GRAPH.last_of("w")


def test_only_tensors_are_drawn():
    class Two(nn.Module):
        def forward(self, x):
            return torch.aminmax(x)[0]

    with pytest.raises(ValueError, match="node 'aminmax' gives aminmax: only tensors"):
        graphs.trace(Two().eval(), X)
