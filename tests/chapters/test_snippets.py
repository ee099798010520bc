"""The code that readers are told to copy runs as it stands."""

import re
import shutil
import warnings

import nbformat
import pytest
import torch
from torch import nn

from qstudy.methods import convert
from qstudy.methods.simulate import SimulateConfig, simulate
from qstudy.methods.simulate.ranges import calibrate
from qstudy.models.resnet import resnet
from qstudy.report import numbers
from qstudy.study.bench import Timing
from qstudy.study.tree import repository
from tests.methods.routes import networks


def snippets(name):
    source = nbformat.read(repository() / "chapters" / f"{name}.ipynb", as_version=4)
    text = "\n".join(c.source for c in source.cells if c.cell_type == "markdown")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.relu1 = nn.ReLU()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.pool(self.relu1(self.bn1(self.conv1(x)))).flatten(1))


class Depthwise(nn.Module):
    """What the study's ResNets have not: a depthwise layer and an addition of two."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.conv3, self.bn = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        x = self.conv1(x).relu()
        x = (self.bn(self.conv3(self.conv2(x))) + x).relu()
        return self.fc(x.mean((2, 3)))


@pytest.fixture
def batches():
    return [torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))]


@pytest.fixture(autouse=True)
def engine():
    before = torch.backends.quantized.engine
    yield
    torch.backends.quantized.engine = before


# torch.ao's own default observers and quantized tensors announce their removal.
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_quantize_your_own_model(batches):
    *_, eager, _ = snippets("static")
    assert len([line for line in eager.splitlines() if line.strip()]) <= 11
    names = {"model": Small(), "calibration_batches": batches}
    exec(eager, names)
    kind = type(names["quantized"].module.conv1).__module__
    assert "quantized" in kind
    assert names["quantized"](batches[0]).shape == (4, 10)


def test_define_and_quantize_a_model_in_one_call(batches, tmp_path, monkeypatch):
    if "x86" not in torch.backends.quantized.supported_engines:
        pytest.skip("torch has no engine x86 on this machine")
    monkeypatch.chdir(tmp_path)
    define, quantize, *_ = snippets("static")
    names = {"calibration_batches": batches * 8, "images": batches[0]}
    exec(define, names)
    exec(quantize, names)
    assert names["share"].quantized == 4
    with torch.inference_mode():
        both = [names["logits"].flatten(), names["model"](batches[0]).flatten()]
        assert torch.equal(names["again"](batches[0]), names["logits"])
    assert torch.corrcoef(torch.stack(both))[0, 1].item() > 0.99
    with pytest.raises(AssertionError, match="float kernels ran"):
        kept = quantize.replace('engine="x86"', 'kept_float=("fc",)')
        exec(kept, names)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
@pytest.mark.parametrize("network", ["small", "depthwise"])
def test_quantize_any_model_by_export(batches, network):
    pytest.importorskip("torchao", reason="the extra `engines` is not installed")
    export = snippets("static")[-1]
    model = Small() if network == "small" else Depthwise()
    labelled = [(batch, torch.arange(4)) for batch in batches]
    names = {"model": model, "calibration_batches": labelled, "images": batches[0]}
    exec(export, names)
    assert names["int8"] == (2 if network == "small" else 4)
    with torch.inference_mode():
        both = [names["logits"].flatten(), model.eval()(batches[0]).flatten()]
    assert torch.corrcoef(torch.stack(both))[0, 1].item() > 0.99
    with pytest.raises(AssertionError, match="float kernels ran"):
        exec(export.replace("forward = compiled(quantized)", "forward = model"), names)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("network", ["small", "depthwise"])
def test_train_your_own_model_with_rounding(batches, network):
    if "x86" not in torch.backends.quantized.supported_engines:
        pytest.skip("torch has no engine x86 on this machine")
    (train,) = snippets("qat")
    body = [line for line in train.splitlines() if line and "import" not in line]
    assert len(body) <= 11
    model = Small() if network == "small" else Depthwise()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = {"model": model, "loader": [(batches[0], torch.arange(4))] * 3}
    exec(train, names)
    assert names["logits"].shape == (4, 10)
    with torch.inference_mode():
        both = [names["logits"].flatten(), names["net"](batches[0]).flatten()]
    assert torch.corrcoef(torch.stack(both))[0, 1].item() > 0.98
    # What was trained is a copy, and it was trained.
    assert all(torch.equal(t, before[k]) for k, t in model.state_dict().items())
    trained = dict(names["net"].named_parameters())
    assert not torch.equal(
        trained["conv1.conv.weight" if network == "small" else "conv1.layer.weight"],
        before["conv1.weight"],
    )
    with pytest.raises(AssertionError, match="float kernels would run"):
        exec(train.replace('convert(net, engine="x86")', "model"), names)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_bfloat16_in_one_call(batches):
    text = (repository() / "chapters" / "guide.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {"model": Small(), "images": batches[0]}
    exec(code, names)
    expected = names["model"].eval()(batches[0]).detach()
    assert names["logits"].dtype == torch.float32
    both = torch.stack([names["logits"].flatten(), expected.flatten()])
    assert torch.corrcoef(both)[0, 1].item() > 0.99
    assert not torch.equal(*both)


def test_fold_a_network_of_your_own(batches):
    names = {"model": resnet(8)}
    (fold,) = snippets("fusion")
    exec(fold, names)
    expected = names["model"].eval()(batches[0])
    torch.testing.assert_close(names["fused"](batches[0]), expected)


def test_find_a_range_for_activations_of_your_own(batches):
    positive = [batch.relu() for batch in batches]
    names = {"batches": positive}
    exec(snippets("formulas")[-1], names)
    rounded = names["rounded"]
    assert rounded.shape == positive[0].shape
    values = rounded.unique()
    assert 8 < len(values) <= 16
    low, high = names["low"], names["high"]
    assert low == values.min() == 0 and values.max() == pytest.approx(high)
    # What clipping gives up for finer steps: the mean square beats that of no clipping.
    assert high < positive[0].max()
    step = positive[0].max() / 15
    plain = (positive[0] / step).round() * step
    errors = [((x - positive[0]) ** 2).mean() for x in (rounded, plain)]
    assert errors[0] < errors[1]


def test_a_ratio_is_not_followed_by_times():
    """A ratio prints as "1.08×": "times" behind it would be said twice."""
    quoted = numbers.load(repository() / "results")
    for page in (repository() / "chapters").glob("*.[im]*"):
        text = page.read_text(encoding="utf-8")
        for key in re.findall(r"\{q\}`([^`]+)`\s+times\b", text):
            assert quoted[numbers.split_key(key)[0]].unit != "×", f"{page.name}: {key}"


def test_train_your_own_model_with_learned_steps(batches):
    load, train = snippets("lsq")
    assert 'qstudy.load("resnet20", method="lsq-' in load
    model = Small().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = {"model": model, "loader": [(batches[0], torch.arange(4))] * 3}
    exec(train, names)
    assert names["logits"].shape == (4, 10)
    with torch.inference_mode():
        torch.testing.assert_close(
            names["logits"], names["net"](batches[0]), rtol=0, atol=1e-3
        )
    assert "fc.layer.weight.int8" in names["file"]
    steps = {k: v for k, v in names["net"].named_parameters() if k.endswith(".step")}
    assert steps and all(step.grad is None or step > 0 for step in steps.values())
    assert all(torch.equal(t, before[k]) for k, t in model.state_dict().items())


# ---- from one API to the next


@pytest.fixture(scope="module")
def moved():
    """The names that the page's snippets leave, one after the other."""
    text = (repository() / "chapters" / "migration.md").read_text(encoding="utf-8")
    parts = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = dict(zip(("net", "eager", "pt2e", "ort", "openvino"), parts, strict=True))
    torch.manual_seed(0)
    made = {}
    exec(names["net"], made)
    return names, made


def as_fp32(made):
    """That the answers of a snippet are fp32's, but for rounding."""
    with torch.inference_mode():
        both = [made["logits"].flatten(), made["model"](made["images"]).flatten()]
    assert not torch.equal(*both)
    assert torch.corrcoef(torch.stack(both))[0, 1].item() > 0.97


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_migration_eager(moved):
    if "x86" not in torch.backends.quantized.supported_engines:
        pytest.skip("torch has no engine x86 on this machine")
    snippets, made = moved
    exec(snippets["eager"], made)
    as_fp32(made)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_migration_pt2e(moved):
    pytest.importorskip("torchao", reason="the extra `engines` is not installed")
    snippets, made = moved
    exec(snippets["pt2e"], made)
    as_fp32(made)
    with pytest.raises(AssertionError, match="nothing was quantized"):
        exec(snippets["pt2e"].replace("pt2e.convert_pt2e(prepared)", "graph"), made)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_migration_onnx_runtime_and_openvino(moved):
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="the extra `engines` is not installed")
    snippets, made = moved
    exec(snippets["ort"], made)
    as_fp32(made)
    for package in ("openvino", "nncf"):
        pytest.importorskip(package, reason="the extra `engines` is not installed")
    exec(snippets["openvino"], made)
    as_fp32(made)


def test_an_int8_network_is_traced_to_the_same_answers():
    if "x86" not in torch.backends.quantized.supported_engines:
        pytest.skip("no engine x86")
    code, _ = snippets("speed")
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    simulated = simulate(networks.plain_cnn(), SimulateConfig())
    calibrate(simulated, [images], observer="minmax")
    int8_network = convert.convert(simulated, engine="x86")
    names = {"torch": torch, "int8_network": int8_network, "images": images}
    with warnings.catch_warnings():
        # That TorchScript goes, and that scales become constants: the page says both.
        warnings.simplefilter("ignore")
        exec(code, names)
    with torch.no_grad():
        assert torch.equal(names["traced"](images), int8_network(images))


def test_bench_of_your_own_model():
    _, code = snippets("speed")
    few = 'threads=1, routes=["fp32:eager", "int8:x86"], timing=tiny, progress=False'
    tiny = Timing(processes=1, rounds=3, seconds=0.2, warmup_seconds=0.05)
    names = {"model": networks.plain_cnn(), "tiny": tiny}
    exec(code.replace("threads=1", few), names)
    assert [row.route for row in names["report"].rows] == ["fp32:eager", "int8:x86"]
    assert "int8:x86" in names["report"].sentence
