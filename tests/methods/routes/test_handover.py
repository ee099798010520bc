"""A network handed to another process: all that it holds arrives, and nothing runs."""

import enum
import json
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qstudy.data.torchvision_guard import import_torchvision
from qstudy.methods.routes import as_data, handover
from qstudy.models import zoo
from tests.methods.routes import networks


class Mode(enum.Enum):
    """What a network may hold."""

    MEAN = "mean"


class Holds(nn.Module):
    """Of each kind of value one, weights shared, one module twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        self.again = self.first
        self.lstm = nn.LSTM(4, 4, num_layers=2)
        self.tied, self.last = nn.Linear(4, 4), nn.Linear(4, 4)
        self.last.weight = self.tied.weight
        self.register_buffer("scale", torch.tensor(2.0))
        self.register_buffer("none", None)
        self.register_buffer("passing", torch.ones(4), persistent=False)
        self.loose = torch.arange(3)
        self.activation, self.function = F.relu, torch.sigmoid
        self.held = {
            "sizes": torch.Size([1, 2]),
            3: (None, True, float("inf"), -1.5),
            "kinds": [torch.float32, torch.channels_last, nn.BatchNorm2d, {1, 2}],
            "mode": Mode.MEAN,
            "where": torch.device("cpu"),
        }

    def forward(self, x):
        x = self.activation(self.again(self.first(x[:, :3])[:, :3]))
        x, _ = self.lstm(x.mean((2, 3))[None])
        return self.function(self.last(self.tied(x[0]))) * self.scale * self.passing


def passed_on(model, folder):
    """`model` as another process gets it; what is between the two is JSON."""
    told = json.loads(json.dumps(handover.hand_over(model, folder)))
    return handover.take_over(told)


def test_all_that_a_network_holds_arrives(tmp_path):
    network = Holds().eval()
    taken = passed_on(network, tmp_path)
    assert type(taken) is Holds and not taken.training
    assert taken.held == network.held and taken.none is None
    assert type(taken.held["sizes"]) is torch.Size
    assert taken.activation is F.relu and taken.function is torch.sigmoid
    assert torch.equal(taken.loose, torch.arange(3))
    own, same = network.state_dict(), taken.state_dict()
    assert list(own) == list(same)
    assert all(torch.equal(own[name], same[name]) for name in own)
    # What is one thing stays one, and lies in memory as it did.
    assert taken.again is taken.first and taken.last.weight is taken.tied.weight
    assert taken.first.weight.stride() == network.first.weight.stride()
    assert not taken.first.weight.is_contiguous()
    x = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(taken(x), network(x))
    handover.check_alike(network, taken, x)


@pytest.mark.parametrize("name", ["reused", "resnet20", "resnet18", "mobilenet_v2"])
def test_networks_of_every_origin_answer_the_same_bits(name, tmp_path):
    if name == "reused":
        network = networks.reused()
    elif name == "resnet20":
        network = zoo.build(name).eval()
    else:
        network = import_torchvision().models.get_model(name, weights=None).eval()
    taken = passed_on(network, tmp_path)
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(taken(x), network(x))


def test_nothing_that_is_written_is_a_pickle(tmp_path):
    handover.hand_over(networks.reused(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        as_data.NETWORK,
        as_data.TENSORS,
    }
    told = json.loads((tmp_path / as_data.NETWORK).read_text())
    assert set(told) == {"modules", "tensors"}
    header = (tmp_path / as_data.TENSORS).read_bytes()
    length = int.from_bytes(header[:8], "little")
    assert json.loads(header[8 : 8 + length])


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (lambda: lambda x: x, r"Linear\.held is of class function"),
        (lambda: object(), r"Linear\.held is of class object"),
        (lambda: [1, {"a": slice(2)}], r"Linear\.held\[1\]\.a is of class slice"),
        (lambda: torch.Generator(), r"Linear\.held is of class Generator"),
        (
            lambda: torch.ones(2, 2).to_sparse(),
            r"Linear\.held is a quantized or a sparse",
        ),
    ],
)
def test_what_is_no_data_is_refused_with_its_place(held, words, tmp_path):
    network = nn.Linear(2, 2)
    network.held = held()
    with pytest.raises(ValueError, match=words) as caught:
        handover.hand_over(network, tmp_path)
    assert "give 'module:function' instead" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_that_another_process_cannot_import_is_refused(tmp_path):
    class Local(nn.Linear):
        """Cannot be imported."""

    with pytest.raises(ValueError, match=r"Local of .* cannot be imported by another"):
        handover.hand_over(Local(2, 2), tmp_path)
    traced = torch.fx.symbolic_trace(networks.mlp())
    with pytest.raises(ValueError, match="cannot be handed to another process"):
        handover.hand_over(traced, tmp_path)


def test_a_class_of_a_notebook_is_told_the_way_out(tmp_path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom torch import nn\n"
        "from qstudy.methods.routes import handover\n"
        "class Net(nn.Linear):\n    pass\n"
        "handover.hand_over(Net(2, 2), Path(sys.argv[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "class Net of __main__ cannot be imported" in done.stderr
    assert "put it into a file and give 'module:function'" in done.stderr


def test_a_file_that_names_what_is_no_module_is_refused(tmp_path):
    handover.hand_over(nn.Linear(2, 2), tmp_path)
    path = tmp_path / as_data.NETWORK
    text = path.read_text()
    assert '"torch.nn.modules.linear:Linear"' in text
    path.write_text(text.replace("torch.nn.modules.linear:Linear", "os:system"))
    with pytest.raises(ValueError, match=r"os:system is no torch\.nn\.Module"):
        as_data.read(tmp_path)


class Drawing(nn.Module):
    """Answers otherwise each time."""

    def forward(self, x):
        return x + torch.rand(())


def test_a_network_that_answers_otherwise_is_refused(tmp_path):
    network, x = Drawing(), torch.zeros(2, 4)
    with pytest.raises(
        ValueError, match="Drawing answers otherwise in another process"
    ):
        handover.check_alike(network, passed_on(network, tmp_path), x)


def test_a_function_that_imports_torchvision_itself_works(tmp_path):
    (tmp_path / "their_net.py").write_text(
        "def net():\n"
        "    import torchvision\n"
        "    return torchvision.models.shufflenet_v2_x0_5(weights=None)\n"
    )
    script = (
        "import sys, torch\nfrom qstudy.methods.routes import handover\n"
        "def load_library(path):\n    raise OSError('no such library')\n"
        "torch.ops.load_library = load_library\n"
        "before = list(sys.meta_path)\n"
        "print(type(handover.from_function('their_net:net')).__name__)\n"
        "assert sys.meta_path == before\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ShuffleNetV2\n"
