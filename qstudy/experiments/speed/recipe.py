"""What the speed chapter compares: networks, routes, changes of them, shapes."""

THREADS = (1, 2)
BATCHES = (1, 8, 32)
# In the order of qstudy.methods.routes, which needs torch to be asked.
CANDIDATES = (
    "fp32:eager",
    "fp32:channels_last",
    "fp32:channels_last_fused",
    "fp32:traced",
    "fp32:compiled",
    "fp32:onnxruntime",
    "fp32:openvino",
    "bf16:eager",
    "bf16:channels_last_fused",
    "bf16:traced",
    "bf16:compiled",
    "bf16:openvino",
    "int8:x86",
    "int8:onednn",
    "int8:fbgemm",
    "int8:qnnpack",
    "int8:x86_traced",
    "int8:pt2e",
    "int8:ort_qdq",
    "int8:ort_qoperator",
    "int8:openvino",
)
# What quick mode times, none of which has to be compiled.
QUICK = ("fp32:eager", "fp32:channels_last_fused", "int8:onednn", "int8:x86")
MODELS = ("resnet18", "mobilenet_v2", "resnet20")
ZOO = (
    "resnet50",
    "resnext101_32x8d",
    "googlenet",
    "inception_v3",
    "shufflenet_v2_x1_0",
    "efficientnet_lite0",
)
_FEW = ("fp32:eager", "fp32:compiled", "fp32:onnxruntime", "fp32:openvino")
ZOO_CANDIDATES = (
    *_FEW,
    "bf16:compiled",
    *("int8:x86", "int8:onednn", "int8:x86_traced", "int8:pt2e"),
    *("int8:ort_qdq", "int8:openvino"),
)
# The text networks of the dynamic chapter, and the routes that take them.
TEXT = ("lstm", "minilm")
TEXT_CANDIDATES = (
    *("fp32:eager", "fp32:traced", "fp32:compiled"),
    *("fp32:onnxruntime", "fp32:openvino"),
    *("bf16:eager", "bf16:compiled", "bf16:openvino"),
    *("int8:dynamic", "int8:pt2e", "int8:ort_dynamic", "int8:ort_qdq"),
    "int8:openvino",
)
# What is tried to make a route faster: it as it is, then each change of it.
TRIED = (
    "int8:x86_traced",
    "int8:x86_traced+bound",
    "int8:x86_traced+spinning",
    "int8:x86_traced+kept",
)
TRIED_COMPILED = (
    "fp32:compiled",
    "fp32:compiled+cpp_wrapper",
    "int8:pt2e",
    "int8:pt2e+cpp_wrapper",
)
ENGINES = ("x86", "onednn")
# Of a convolution 3 x 3, dense or depthwise: channels, image side; of linear: in, out.
SHAPES = {
    "conv": [[c, s] for c in (16, 64, 256) for s in (7, 14, 28, 56)],
    "depthwise": [[c, s] for c in (32, 128, 512) for s in (7, 14, 28, 56)],
    "linear": [[i, o] for i in (64, 512, 2048) for o in (64, 512, 2048)],
}
# Beside one image a call.
CROSSOVER_BATCHES = {"conv": 8, "depthwise": 8, "linear": 32}
