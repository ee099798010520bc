"""All routes by name, in the order of tables: fp32, bf16, int8."""

from __future__ import annotations

from collections.abc import Mapping

from qstudy.methods.routes import onnx_routes, openvino_routes, torch_routes
from qstudy.methods.routes.route import Built, Route, Source

_FLOATS = {
    "eager": "eager, as users write it",
    "channels_last": "channels last",
    "channels_last_fused": "channels last, fused",
    "traced": "traced, frozen",
    "compiled": "compiled, frozen",
}
# In the order of what torch takes by itself on x86, then the rest.
ENGINES = ("x86", "onednn", "fbgemm", "qnnpack")


def _routes() -> list[Route]:
    made = [
        Route(f"{p}:{how}", label, "torch", torch_routes.floats(how, p))
        for p in ("fp32", "bf16")
        for how, label in _FLOATS.items()
    ]
    made += [
        Route(
            "fp32:onnxruntime",
            "ONNX Runtime",
            "onnxruntime",
            onnx_routes.onnxruntime_fp32,
        ),
        Route(
            "fp32:openvino",
            "OpenVINO",
            "openvino",
            openvino_routes.openvino_float("f32"),
        ),
        Route(
            "bf16:openvino",
            "OpenVINO",
            "openvino",
            openvino_routes.openvino_float("bf16"),
        ),
    ]
    made += [
        Route(f"int8:{e}", f"eager, {e}", "torch", torch_routes.eager_int8(e))
        for e in ENGINES
    ]
    made.append(
        Route(
            "int8:x86_traced",
            "traced, x86",
            "torch",
            torch_routes.eager_int8("x86", traced=True),
        )
    )
    made.append(
        Route("int8:dynamic", "dynamic, x86", "torch", torch_routes.dynamic_int8)
    )
    made.append(Route("int8:pt2e", "PT2E, compiled", "torch", torch_routes.export_int8))
    made += [
        Route(
            f"int8:ort_{form.lower()}",
            f"ONNX Runtime, {form}",
            "onnxruntime",
            onnx_routes.onnxruntime_int8(form),
        )
        for form in ("QDQ", "QOperator")
    ]
    made.append(
        Route(
            "int8:ort_dynamic",
            "ONNX Runtime, dynamic",
            "onnxruntime",
            onnx_routes.onnxruntime_dynamic,
        )
    )
    made.append(
        Route(
            "int8:openvino",
            "OpenVINO, NNCF",
            "openvino",
            openvino_routes.openvino_int8,
        )
    )
    order = ("fp32", "bf16", "int8")
    return sorted(made, key=lambda r: order.index(r.precision))


ROUTES: Mapping[str, Route] = {route.name: route for route in _routes()}


def build(name: str, source: Source) -> Built:
    """`source`'s network along route `name`; ValueError names the routes there are.

    What a route refuses it says in one line: ImportError for a package that is missing,
    with the extra to install, ValueError for a network it has no form of, and whatever
    an engine raises for one that it cannot take.
    """
    if name not in ROUTES:
        raise ValueError(f"route {name!r} is not one of {tuple(ROUTES)}")
    return ROUTES[name].build(source)
