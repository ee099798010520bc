"""torchvision imports whether or not its compiled library loads.

Each case is a fresh process: operators, once defined, stay.
"""

import subprocess
import sys

import pytest

pytest.importorskip("torch")

COMMON = """
import sys, torch
from qstudy.data import torchvision_guard as guard
"""
BROKEN = """
def load_library(path):
    raise OSError("libcudart.so: cannot open shared object file")
torch.ops.load_library = load_library
"""
USE = """
torchvision = guard.import_torchvision()
assert torchvision is guard.import_torchvision() is sys.modules["torchvision"]
network = torchvision.models.resnet18(weights=None).eval()
assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
"""


def run(script):
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_library_that_does_not_load():
    done = run(COMMON + BROKEN + USE + "assert guard._defined is not None")
    assert done.returncode == 0, done.stderr


def test_library_that_loads_is_left_alone(tmp_path):
    """Simulated: a torchvision whose library, on loading, defines the operators."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "_C.so").write_bytes(b"")
    (package / "__init__.py").write_text(
        "import torch\n"
        "torch.library.register_fake('torchvision::nms')(lambda d, s, t: d)\n"
    )
    script = f"""
sys.path.insert(0, {str(tmp_path)!r})
library = torch.library.Library("torchvision", "DEF")
loaded = []
def load_library(path):
    loaded.append(path)
    for schema in guard.SCHEMAS:
        library.define(schema)  # fails where they are defined already
torch.ops.load_library = load_library
torchvision = guard.import_torchvision()
assert guard._defined is None
assert len(loaded) == 1 and loaded[0].name == "_C.so"
"""
    done = run(COMMON + script)
    assert done.returncode == 0, done.stderr


def test_this_installation():
    done = run(COMMON + USE)
    assert done.returncode == 0, done.stderr


def test_without_the_guard_the_broken_case_fails():
    """Else the guard is no longer needed, and can go."""
    done = run(COMMON + BROKEN + "import torchvision")
    assert done.returncode != 0
    assert "torchvision::nms does not exist" in done.stderr


def test_whoever_imports_it_in_a_guarded_block_gets_a_usable_one():
    script = """
before = list(sys.meta_path)
with guard.guarded():
    assert guard._defined is None and "torchvision" not in sys.modules
    import torchvision.models
assert sys.meta_path == before and guard._defined is not None
assert torchvision.models.resnet18(weights=None) is not None
"""
    done = run(COMMON + BROKEN + script)
    assert done.returncode == 0, done.stderr


def test_a_guarded_block_that_does_not_import_it_costs_nothing():
    script = """
def load_library(path):
    raise AssertionError("asked without need")
torch.ops.load_library = load_library
with guard.guarded():
    import json
assert guard._defined is None and "torchvision" not in sys.modules
"""
    done = run(COMMON + script)
    assert done.returncode == 0, done.stderr
