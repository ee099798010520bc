"""Calls that cannot be meant: one line, an exit code, nothing computed or written."""

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import qstudy
from qstudy import data, experiments
from qstudy.data import weights
from qstudy.study import cli
from qstudy.study.store import Store, sha256_file
from qstudy.study.tree import repository
from tests.study import toy


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a results tree that is empty, and a file; the toy alone."""
    (tmp_path / "results" / "runs").mkdir(parents=True)
    (tmp_path / "file").touch()
    monkeypatch.setattr(experiments, "ALL", (toy,))
    monkeypatch.setattr(experiments, "NAMES", ("toy",))
    monkeypatch.setenv("QSTUDY_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("QSTUDY_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("QSTUDY_DATA", "")
    return tmp_path


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["qstudy", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    return stop.value.code, out, err


MODES = "is not one of ('smoke', 'quick', 'full')"
COMMANDS = [
    ("plan --mode=", MODES),
    ("plan --mode read", MODES),
    ("plan --mode FULL", MODES),
    ("plan --experiment=", "experiment '' is not one of ('toy',)"),
    ("plan --experiment Toy", "experiment 'Toy' is not one of"),
    ("run --mode read", MODES),
    ("run --experiment=", "experiment '' is not one of"),
    ("run --only=", "--only '' matches"),
    ("run --only XYZ", "--only 'XYZ' matches 0 runs"),
    ("run --shard=", "shard '' is not i/n"),
    ("run --shard 1/2/3", "shard '1/2/3' is not i/n"),
    ("run --shard=-1/2", "shard '-1/2' is not i/n"),
    ("run --shard 1.5/2", "shard '1.5/2' is not i/n"),
    ("run --shard ²/3", "shard '²/3' is not i/n"),
    ("run --shard 1/³", "shard '1/³' is not i/n"),
    ("run --data-dir FILE", "FILE (--data-dir or QSTUDY_DATA) is not a folder"),
    ("data --data-dir /nope", "/nope (--data-dir or QSTUDY_DATA) is not a folder"),
    ("study --data-dir /nope", "/nope (--data-dir or QSTUDY_DATA) is not a folder"),
    ("study --mode read", "is not one of ('quick', 'full')"),
    ("study --mode=", "mode '' is not one of ('quick', 'full')"),
    ("collect --tree FILE", "FILE is not a folder"),
    ("collect --tree=", "is no results tree: it has no folder runs/"),
    ("verify FILE FILE", "FILE is no results tree"),
    ("verify RESULTS RESULTS", "have no run in common"),
    ("publish --experiment nope", "experiment 'nope' is not one of"),
    ("book --tree /nope", "the results tree /nope is not a folder"),
    ("book --output FILE", "the book's folder FILE is no folder"),
    ("conformance --implementation :", "':' is not module:function"),
    ("conformance --implementation os:path", "'os:path' is not module:function"),
    ("conformance --implementation ..:x", "'..:x' cannot be imported: TypeError"),
]


@pytest.mark.parametrize(("call", "words"), COMMANDS, ids=[c for c, _ in COMMANDS])
def test_a_command(place, monkeypatch, capsys, call, words):
    folders = {"FILE": str(place / "file"), "RESULTS": str(place / "results")}
    for name, path in folders.items():
        call, words = call.replace(name, path), words.replace(name, path)
    code, out, err = command(monkeypatch, capsys, *call.split())
    assert code == 1 and out == ""
    assert err.startswith("qstudy: ") and words in err and err.count("\n") == 1
    assert not (place / "work" / "runs").exists()


@pytest.mark.parametrize(
    "call",
    ["nope", "verify", "verify results", "run extra", "plan --jsn", "run --only"],
)
def test_a_command_that_is_none(place, monkeypatch, capsys, call):
    code, _, err = command(monkeypatch, capsys, *call.split())
    assert code == 2 and err.startswith("qstudy: ") and err.count("\n") == 1


@pytest.mark.parametrize("name", ["QSTUDY_RESULTS", "QSTUDY_WORK", "QSTUDY_DATA"])
@pytest.mark.parametrize("content", ["/nope", "FILE"])
def test_a_variable_that_names_no_folder(place, monkeypatch, capsys, name, content):
    if (name, content) == ("QSTUDY_WORK", "/nope"):
        content = "/proc/nope"  # nobody may make a folder there
    path = content.replace("FILE", str(place / "file"))
    monkeypatch.setenv(name, path)
    code, _, err = command(monkeypatch, capsys, "run")
    assert code == 1 and path in err.splitlines()[-1]
    assert "Traceback" not in err and len(err.splitlines()) <= 2


CHAPTERS = [
    ({"mode": ""}, ValueError, "mode '' is not one of"),
    ({"mode": "Read"}, ValueError, "mode 'Read' is not one of"),
    ({"mode": None}, TypeError, "mode is None, a NoneType: str is needed"),
    ({"mode": ["read"]}, TypeError, "mode is \\['read'\\], a list"),
    ({"mode": "quick", "seed": -1}, ValueError, "seed is -1, outside 0 to 2147483647"),
    ({"mode": "quick", "seed": 2**70}, ValueError, "outside 0 to 2147483647"),
    ({"seed": 1.0}, TypeError, "seed is 1.0, a float: int is needed"),
    ({"seed": None}, TypeError, "seed is None"),
    ({"results": None}, TypeError, "results is None, a NoneType: str is needed"),
    ({"results": "/nope"}, RuntimeError, "results tree /nope is not a folder"),
    ({"mode": "quick", "slow": "x"}, TypeError, "slow is 'x', a str: float is needed"),
    ({"mode": "quick", "slow": 1}, TypeError, "slow is 1, a int: float is needed"),
    ({"mode": "quick", "slow": float("nan")}, ValueError, "slow is nan: a finite"),
    ({"mode": "quick", "slow": float("inf")}, ValueError, "slow is inf: a finite"),
    ({"mode": "quick", "extra": True}, TypeError, "extra is True, a bool"),
    ({"mode": "read", "extra": 1}, ValueError, "pass -p mode quick"),
    ({3: 4}, ValueError, "parameter 3 is not one of"),
    ([("mode", "read")], TypeError, "is a list: the globals\\(\\) of a notebook"),
    ("read", TypeError, "'read' is a str"),
]


@pytest.mark.parametrize(("given", "kind", "words"), CHAPTERS)
def test_parameters_of_a_chapter(place, given, kind, words):
    with pytest.raises(kind, match=words) as error:
        qstudy.chapter("toy", given)
    assert "\n" not in str(error.value)
    assert not (place / "work").exists()


@pytest.mark.parametrize("name", ["", None, 3, "TOY", "toy "])
def test_a_chapter_that_is_none(place, name):
    with pytest.raises(ValueError, match=r"^experiment .* is not one of \('toy',\)$"):
        qstudy.chapter(name, {})


LOADS = [
    ({"model": "RESNET20"}, RuntimeError, "no trained network RESNET20, seed 0"),
    ({"model": None}, RuntimeError, "no trained network None"),
    ({"model": ["resnet20"]}, RuntimeError, "no trained network \\['resnet20'\\]"),
    (
        {"model": "resnet20", "seed": 10**30},
        RuntimeError,
        "no trained network resnet20",
    ),
    ({"model": "resnet20", "stage": "Dev"}, ValueError, "stage 'Dev' is not one of"),
    ({"model": "resnet20", "stage": None}, ValueError, "stage None is not one of"),
    ({"model": "resnet20", "results": 3}, TypeError, "results 3 is a int: a path is"),
    ({"model": "resnet20", "results": "/nope"}, RuntimeError, "/nope is not a folder"),
    ({"model": "resnet20", "results": None}, TypeError, "results None is a NoneType"),
]


@pytest.mark.parametrize(("given", "kind", "words"), LOADS)
def test_a_network_that_is_none(given, kind, words):
    with pytest.raises(kind, match=words) as error:
        qstudy.load(**given)
    assert "\n" not in str(error.value)


DATA = [
    (data.load, ("cifar", "test"), "dataset 'cifar' is not one of cifar10"),
    (data.load, (None, "test"), "dataset None is not one of"),
    (data.load, (["synthetic"], "test"), "dataset \\['synthetic'\\] is not one of"),
    (data.load, ("cifar10", "val"), "split 'val' is not one of train"),
    (data.load, ("synthetic", None), "split None is not one of"),
    (data.load, ("synthetic", "test", "/nope"), "data folder /nope .* is not a folder"),
    (data.load, ("cifar10", "test", "/nope"), "data folder /nope .* is not a folder"),
    (data.texts, ("Brown", "test"), "texts 'Brown' are not one of brown"),
    (data.texts, ("synthetic_text", 3), "split 3 is not one of"),
    (data.texts, ("synthetic_text", "test", "/nope"), "data folder /nope"),
    (data.texts, ("brown", "test", "/nope"), "data folder /nope"),
    (data.sha256, ("nope", "test"), "dataset 'nope' is not one of"),
    (data.sha256, ("brown", "nope"), "split 'nope' is not one of train"),
    (data.ensure, ("imagenet",), "dataset 'imagenet' is not one of"),
    (weights.path, ("nope",), "weights 'nope' are not one of resnet18"),
    (weights.path, (None,), "weights None are not one of"),
]


@pytest.mark.parametrize(("function", "given", "words"), DATA)
def test_data_that_are_none(function, given, words):
    names = ("dataset", "split", "data_dir")
    call = dict(zip(names, given, strict=False)) if len(given) > 1 else {}
    with pytest.raises((ValueError, data.DataError), match=words) as error:
        function(**call) if call else function(*given)
    assert "\n" not in str(error.value)


@pytest.fixture
def own_tree(tmp_path):
    """A results tree with the record and checkpoint of one ResNet-8."""
    from qstudy.experiments import baselines

    published = Store(repository() / "results")
    records = published.records(baselines.NAME, baselines.VERSION)
    record = next(
        r
        for r in records
        if r.spec.params["model"] == "resnet8" and "checkpoint" in str(r.artifacts)
    )
    store = Store(tmp_path / "own")
    store.take_over(record, published)
    return store, record


def without_one(tensors):
    return dict(list(tensors.items())[1:])


def with_one_more(tensors):
    return {**tensors, "surprise": np.zeros(3, np.float32)}


def with_one_reshaped(tensors):
    name = next(n for n, t in tensors.items() if t.ndim == 4)
    return {**tensors, name: tensors[name][:1].copy()}


def with_a_nan(tensors):
    name = next(n for n, t in tensors.items() if t.ndim == 4)
    return {**tensors, name: np.full_like(tensors[name], np.nan)}


@pytest.mark.parametrize(
    "change", [without_one, with_one_more, with_one_reshaped, with_a_nan]
)
def test_a_checkpoint_of_another_network(own_tree, change):
    """With a record that vouches for it: only the network itself can tell."""
    store, record = own_tree
    path = store.checkpoint(record)
    save_file(change(load_file(path)), path)
    kept = store.path(record.spec)
    text = json.loads(kept.read_text())
    text["artifacts"] = {
        name: sha256_file(path) if name.startswith("checkpoint") else sha
        for name, sha in text["artifacts"].items()
    }
    kept.write_text(json.dumps(text))
    model, seed = record.spec.params["model"], record.spec.seed
    with pytest.raises((ValueError, RuntimeError)) as error:
        qstudy.load(model, seed=seed, results=store.root)
    assert "\n" not in str(error.value) and path.name in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 16, b"no safetensors", b"PK\x03\x04"]
)
def test_a_checkpoint_that_is_none_is_refused_by_its_sha(own_tree, content):
    store, record = own_tree
    path = store.checkpoint(record)
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match="has SHA-256") as error:
        qstudy.load("resnet8", seed=record.spec.seed, results=store.root)
    assert path.name in str(error.value) and "\n" not in str(error.value)
