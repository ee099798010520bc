"""The same records give the same bytes; two trees are judged by kind of value."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from qstudy.spec import Value
from qstudy.study import verify
from qstudy.study.collect import collect, refresh
from qstudy.study.publish import publish
from qstudy.study.store import Store
from qstudy.study.tree import StudyError


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def derived(root):
    return {k: v for k, v in contents(root).items() if k.parts[0] != "runs"}


def test_collect_twice_is_byte_for_byte_the_same(filled):
    root = filled["work"].root
    collect(root, origin="published")
    first = contents(root)
    for folder in ("tables", "figures"):
        shutil.rmtree(root / folder)
    (root / "numbers.json").unlink()
    collect(root, origin="published")
    assert contents(root) == first
    assert {"toy.csv", "claims.csv"} == {p.name for p in (root / "tables").iterdir()}


def test_rows_taken_over_say_so(filled, toys, tmp_path):
    results, work = Store(tmp_path / "published"), filled["work"]
    shutil.copytree(work.root, results.root)
    work.path(toys.grid("full")[4]).unlink()
    collect(work.root, published=results.root)
    text = (work.root / "tables" / "toy.csv").read_text().splitlines()
    published = [line for line in text if "published" in line]
    assert len(text) == 9 and len(published) == 1 and published[0].startswith("4,")


def test_refresh_collects_where_anything_changed_and_only_there(
    filled, toys, tmp_path, monkeypatch
):
    work, results = filled["work"], Store(tmp_path / "published")
    shutil.copytree(work.root, results.root)
    record = work.path(toys.grid("full")[4])
    record.unlink()
    (tmp_path / "README.md").write_text("nothing quoted")
    (tmp_path / "chapters").mkdir()
    monkeypatch.setattr("qstudy.study.collect.repository", lambda: tmp_path)
    table = work.root / "tables" / "toy.csv"

    def again():
        return refresh(work.root, published=results.root)

    assert again()
    first = contents(work.root)
    assert not again() and contents(work.root) == first
    table.write_text(table.read_text() + "9,another hand's row\n")
    assert again() and contents(work.root) == first
    next((work.root / "figures").glob("*.svg")).unlink()
    assert again() and contents(work.root) == first and not again()
    (tmp_path / "README.md").write_text("what is quoted may have changed")
    assert again() and not again()
    shutil.copy(results.path(toys.grid("full")[4]), record)
    assert again() and "published" not in table.read_text()
    results.path(toys.grid("full")[5]).write_text("damaged")
    with pytest.raises(StudyError, match="is damaged"):
        again()


def test_publish_leaves_exactly_the_full_grid(filled, toys, tmp_path, monkeypatch):
    monkeypatch.setattr("qstudy.study.publish.rewrite_readme", lambda root: None)
    work, results = filled["work"], tmp_path / "published"
    shutil.copytree(work.root, results)
    old = toys.spec(99)
    Store(results).path(old).write_text("{}")
    dropped = results / "checkpoints" / "resnet9.safetensors"
    dropped.write_bytes(b"of a network that the grid no longer names")
    work.path(toys.grid("full")[5]).unlink()
    assert publish(work.root, results) == (7, 0)
    assert not Store(results).path(old).exists()
    assert not dropped.exists()
    assert Store(results).checkpoint(Store(results).read(toys.grid("full")[0])).exists()
    assert len(Store(results).records("toy", 1)) == 8
    before = derived(results)
    collect(results, origin="published")
    assert derived(results) == before


def test_publish_of_one_experiment_leaves_the_others(
    filled, toys, tmp_path, monkeypatch
):
    monkeypatch.setattr("qstudy.study.publish.rewrite_readme", lambda root: None)
    work, results = filled["work"], tmp_path / "published"
    shutil.copytree(work.root, results)
    other = SimpleNamespace(NAME="other", VERSION=1, grid=lambda mode: [])
    named = {"other": other, "toy": toys}
    monkeypatch.setattr("qstudy.experiments.by_name", named.__getitem__)
    collect(results, origin="published")
    before = contents(results)
    work.path(toys.grid("full")[3]).write_text("not even a record")
    assert publish(work.root, results, experiment="other") == (0, 0)
    assert contents(results) == before


def test_publish_refuses_a_stale_run(filled, toys, tmp_path):
    parent = filled["work"].path(toys.grid("full")[0])
    record = filled["work"].read(toys.grid("full")[0])
    for name, sha in record.artifacts.items():
        if name.startswith("checkpoint:"):
            parent.write_text(parent.read_text().replace(sha, "0" * 64))
    checkpoints = filled["work"].root / "checkpoints"
    assert checkpoints.is_dir()
    with pytest.raises(StudyError, match=r"stale|SHA-256"):
        publish(filled["work"].root, tmp_path / "published")


def value(number, kind, **more):
    return Value(number, more.pop("unit", "%"), kind, **more)


@pytest.mark.parametrize(
    ("published", "found", "same_isa", "seeds", "agrees"),
    [
        (value(3, "exact"), value(3, "exact"), False, [], True),
        (value(3, "exact"), value(4, "exact"), True, [], False),
        (value(90.0, "isa"), value(90.01, "isa"), True, [], False),
        (value(90.0, "isa", tolerance=0.1), value(90.05, "isa"), False, [], True),
        (value(90.0, "isa", tolerance=0.1), value(90.2, "isa"), False, [], False),
        (value(90.0, "isa"), value(90.0, "isa"), False, [], None),
        (value(1, "stochastic"), value(92, "stochastic"), False, [91, 92, 93], True),
        (value(1, "stochastic"), value(99, "stochastic"), False, [91, 92, 93], False),
        (value(91, "stochastic"), value(91, "stochastic"), True, [91], True),
        (value(91, "stochastic"), value(92, "stochastic"), False, [91], None),
        (value(5.0, "timing", unit="ms"), value(9.0, "timing", unit="ms"), 1, [], None),
    ],
)
def test_each_kind_has_its_rule(published, found, same_isa, seeds, agrees):
    got, rule = verify.compare_value(
        published, found, same_isa=same_isa, seeds=[float(s) for s in seeds]
    )
    assert got is agrees and rule


def ratio(low, high):
    return Value((low + high) / 2, "ratio", "timing", low, high)


@pytest.mark.parametrize(
    ("one", "other", "agrees"),
    [
        (ratio(1.5, 2.0), ratio(1.9, 2.4), True),
        (ratio(1.5, 2.0), ratio(3.0, 4.0), True),
        (ratio(1.5, 2.0), ratio(0.5, 0.9), False),
        (ratio(0.2, 0.4), ratio(0.5, 0.9), True),
        (ratio(0.9, 1.2), ratio(1.3, 1.4), False),
    ],
)
def test_ratios_agree_by_interval_or_by_order(one, other, agrees):
    assert verify.compare_value(one, other, same_isa=True, seeds=[])[0] is agrees


def test_compare_names_every_value_that_differs(filled, toys, tmp_path):
    other = Store(tmp_path / "other")
    shutil.copytree(filled["work"].root, other.root)
    assert all(c.agrees is not False for c in verify.compare(filled["work"], other))
    spec = toys.grid("full")[6]
    record = filled["work"].read(spec)
    changed = replace(
        record, values={**record.values, "count": value(5000, "exact", unit="count")}
    )
    other.write(changed, machine={"label": "x"})
    wrong = [c for c in verify.compare(filled["work"], other) if c.agrees is False]
    assert [c.name for c in wrong] == ["count"]
    line = str(wrong[0])
    assert str(record["count"]) in line and "5000" in line and "must be equal" in line
    assert "compared   16, agreeing   15" in verify.summary(
        verify.compare(filled["work"], other)
    )


def test_a_value_that_is_gone_differs(filled, toys, tmp_path):
    other = Store(tmp_path / "other")
    shutil.copytree(filled["work"].root, other.root)
    record = filled["work"].read(toys.grid("full")[6])
    fewer = {k: v for k, v in record.values.items() if k != "count"}
    other.write(replace(record, values=fewer), machine={"label": "x"})
    wrong = [c for c in verify.compare(filled["work"], other) if c.agrees is False]
    assert [(c.name, c.found) for c in wrong] == [("count", "nothing")]


def test_two_machines_agree_equally_within_tolerance_or_only_in_order(
    filled, toys, tmp_path
):
    other = Store(tmp_path / "other")
    spec = toys.grid("full")[6]
    record = filled["work"].read(spec)
    near = value(record["top1"] + 0.1, "isa", tolerance=0.5)
    slow = {"ratio": ratio(3.0, 4.0), "count": Value(5000, "count", "exact")}
    moved = {**record.values, "top1": near, **slow}
    there = {"id": "b", "label": "Another CPU, x86-64 avx2"}
    other.write(replace(record, values=moved, system="b"), machine=there)
    found = verify.compare(filled["work"], other)
    assert {c.name: c.how for c in found} == {
        "count": "differs",
        "start": "equal",
        "top1": "within tolerance",
        "ratio": "only ordered",
        "ms": "not judged",
    }
    (line,) = verify.machines(found).splitlines()
    assert line.endswith(
        "/ Another CPU, x86-64 avx2: 1 equal, 1 within tolerance, 1 only ordered, "
        "1 differs, 1 not judged"
    )
    (same,) = verify.machines(verify.compare(filled["work"], filled["work"])).split(
        "\n"
    )
    assert ", both: " in same and "differs" not in same
