"""A results tree and a work tree of the toy experiment."""

import pytest

from qstudy import experiments
from qstudy.study import collect, runner
from qstudy.study.store import Store
from tests.study import toy


@pytest.fixture
def toys(monkeypatch):
    """qstudy.experiments holds the toy alone, and its number is quoted."""
    monkeypatch.setattr(experiments, "ALL", (toy,))
    monkeypatch.setattr(experiments, "NAMES", ("toy",))
    monkeypatch.setattr(collect, "quoted_keys", lambda root: {"toy.first.top1"})
    return toy


@pytest.fixture
def stores(tmp_path, toys):
    return {"work": Store(tmp_path / "work"), "results": Store(tmp_path / "results")}


@pytest.fixture
def filled(stores, toys):
    """Both stores, all toy runs done in work."""
    runner.run_missing(toys.grid("full"), **stores)
    return stores
