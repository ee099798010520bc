"""Each route gives the network's answers, in the kernels that its name promises."""

import os
import shutil

import pytest
import torch

from qstudy.methods import legacy, quiet, routes
from qstudy.methods.routes import examine, handover, route, timed, torch_routes
from qstudy.methods.routes.kernels import Kernels, counted, kind_of, profiled
from qstudy.methods.routes.rewrite import one_module_a_call
from tests.methods.routes import networks

ENGINES_HERE = torch.backends.quantized.supported_engines
COMPILED = ("fp32:compiled", "bf16:compiled", "int8:pt2e")
NEEDS = {"onnxruntime": "onnxruntime", "openvino": "openvino"}
# dB of SQNR that a route keeps at least, on these networks.
LEAST = {"fp32": 90, "bf16": 30, "int8": 10}


def source_of(name, folder, *, batch=2):
    make, shape = networks.ALL[name]
    generator = torch.Generator().manual_seed(0)
    calibration = [torch.randn(4, *shape, generator=generator) for _ in range(2)]
    example = torch.randn(batch, *shape, generator=generator)
    return routes.Source(make(), example, tuple(calibration), folder)


def skip_unless_here(name):
    chosen = routes.ROUTES[name]
    for package in {"onnxruntime": ["onnx", "onnxruntime"]}.get(chosen.engine, []):
        pytest.importorskip(package)
    if chosen.engine == "openvino":
        for package in ("onnx", "openvino", "nncf"):
            pytest.importorskip(package)
    if name == "int8:pt2e":
        pytest.importorskip("torchao")
    if name in COMPILED and shutil.which("g++") is None:
        pytest.skip("torch.compile needs g++")
    engine = name.partition(":")[2].removesuffix("_traced")
    if (
        engine in routes.ENGINES
        and engine not in torch.backends.quantized.supported_engines
    ):
        pytest.skip(f"no engine {engine}")


@pytest.mark.parametrize("name", [n for n in routes.ROUTES if "dynamic" not in n])
def test_a_route_answers_as_the_network_and_its_kernels_prove_it(name, tmp_path):
    skip_unless_here(name)
    found = examine.examine(source_of("reused", tmp_path), [name])[name]
    assert found.refused == ""
    assert found.sqnr is None or found.sqnr > LEAST[name[:4].rstrip(":")]
    assert found.n == 16 and found.agreement > 0.5
    int8, floating = found.kernels.total("int8"), found.kernels.total("float")
    if name.startswith("int8"):
        assert (int8, floating) == (4, 0)
    else:
        assert (int8, floating) == (0, 4)


def test_a_size_counts_what_the_route_reads(tmp_path):
    names = ["fp32:eager", "bf16:eager", "int8:x86"]
    found = examine.examine(source_of("mlp", tmp_path), names)
    sizes = [found[name].size_mib for name in names]
    assert sizes[0] > 1.8 * sizes[1] > sizes[2] > 0


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(ImportError, match=r"qstudy\[engines\]"):
        route.package("openvino_of_nobody")


def test_an_unknown_route_is_named(tmp_path):
    with pytest.raises(ValueError, match="route 'fp8:eager' is not one of"):
        routes.build("fp8:eager", source_of("mlp", tmp_path))


def test_what_a_route_made_is_not_made_again(tmp_path):
    skip_unless_here("int8:ort_qdq")
    source = source_of("plain_cnn", tmp_path)
    first = routes.build("int8:ort_qdq", source).forward(source.example)
    made = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = routes.build("int8:ort_qdq", source).forward(source.example)
    assert torch.equal(first, again)
    assert made == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert set(made) == {"fp32.onnx", "prepared.onnx", "qdq.onnx"}


def test_a_trace_answers_as_its_modules_do_whatever_engine_is_set(
    tmp_path, resnet8, images
):
    skip_unless_here("int8:x86_traced")
    source = routes.Source(resnet8, images, (images,), tmp_path)
    names = ("int8:x86", "int8:x86_traced")
    eager, program = (routes.build(name, source).forward for name in names)
    wanted = eager(images)
    for engine in torch.backends.quantized.supported_engines:
        with legacy.engine(engine):
            assert torch.equal(program(images), wanted), engine


def test_one_module_a_call_is_the_same_network_to_the_last_bit():
    network = networks.reused()
    rewritten = one_module_a_call(network)
    calls = [n.target for n in rewritten.graph.nodes if n.op == "call_module"]
    assert len(calls) == len(set(calls)) == 8
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert torch.equal(rewritten(x), network(x))
    own, same = dict(network.named_parameters()), dict(rewritten.named_parameters())
    assert own.keys() == same.keys()


def test_what_needs_no_rewriting_or_cannot_be_traced_is_copied():
    for make in (networks.mlp, networks.branching):
        network = make()
        copied = one_module_a_call(network)
        assert type(copied) is type(network) and copied is not network


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("quantized::conv2d_relu", "int8"),
        ("onednn::qconv2d_pointwise", "int8"),
        ("QLinearConv", "int8"),
        ("ConvInteger", "int8"),
        ("Convolution u8", "int8"),
        ("Convolution f32", "float"),
        ("Conv", "float"),
        ("aten::convolution", "float"),
        ("aten::mkldnn_convolution", ""),
        ("aten::dequantize", "rounding"),
        ("QuantizeLinear", "rounding"),
        ("aten::relu", ""),
        ("Torch-Compiled Region: 0/0", ""),
    ],
)
def test_a_kernel_is_known_by_its_name(name, kind):
    assert kind_of(name) == kind


def test_kernels_are_counted_and_shared_out():
    found = counted(["Conv", "QLinearConv", "QLinearConv", "Relu", "QuantizeLinear"])
    assert found.counts == {"Conv": 1, "QLinearConv": 2, "QuantizeLinear": 1}
    assert found.int8_share == pytest.approx(2 / 3)
    assert str(found) == "2 QLinearConv, 1 Conv, 1 QuantizeLinear"
    assert Kernels({}).int8_share == 0
    with pytest.raises(ValueError, match="kind 'fp8' is not one of"):
        found.total("fp8")


def test_a_profile_counts_one_call_and_its_parts_are_the_whole():
    network = networks.plain_cnn()
    with torch.inference_mode():
        kernels, spent = profiled(network, torch.randn(2, 3, 16, 16), calls=3)
    assert kernels.counts == {"aten::addmm": 1, "aten::convolution": 2}
    assert sum(spent.shares.values()) == pytest.approx(1)
    assert spent.kernels > 0 and spent.rounding == 0


def test_an_answer_that_is_no_table_of_classes_is_refused(tmp_path):
    source = source_of("plain_cnn", tmp_path)
    del source.network[-2:]
    with pytest.raises(ValueError, match=r"gives a tensor of shape .*\(B, classes\)"):
        examine.reference(source)


def test_the_profiler_s_own_remarks_reach_nobody_s_terminal(capfd):
    network = networks.mlp()
    with torch.inference_mode():
        profiled(network, torch.randn(2, 32))
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")
    os.write(2, b"as before\n")
    assert capfd.readouterr().err == "as before\n"


def test_a_closed_descriptor_stays_closed():
    number = os.dup(2)
    os.close(number)
    with quiet.descriptor(number):
        pass
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_what_several_routes_begin_with_is_made_once(tmp_path, monkeypatch):
    calls = []
    plain = torch_routes.calibrate
    monkeypatch.setattr(
        torch_routes, "calibrate", lambda *a, **k: calls.append(1) or plain(*a, **k)
    )
    source = source_of("mlp", tmp_path)
    engines = [e for e in routes.ENGINES if e in ENGINES_HERE]
    both = [routes.build(f"int8:{e}", source).forward(source.example) for e in engines]
    assert len(calls) == 1
    # Converting leaves it as it was: the first engine's answers come again.
    again = routes.build(f"int8:{engines[0]}", source).forward(source.example)
    assert torch.equal(both[0], again) and len(calls) == 1


def test_routes_of_a_process_start_from_one_network(tmp_path):
    told = handover.hand_over(networks.mlp(), tmp_path)
    options = {"network": told, "shape": (32,), "folder": str(tmp_path), "batch": 2}
    timed._shared.cache_clear()
    first = timed.timed_forward(name="fp32:eager", **options)()
    second = timed.timed_forward(name="int8:x86", **options)()
    assert timed._shared.cache_info().misses == 1
    assert not torch.equal(first, second)
    assert torch.equal(first, timed.timed_forward(name="fp32:eager", **options)())
