"""What a rerun on another system agreed on: kept, added up, quoted."""

import json
import shutil
from dataclasses import replace

import pytest

from qstudy.report import numbers
from qstudy.study import agreement, verify
from qstudy.study.collect import collect
from qstudy.study.store import Store
from qstudy.study.tree import StudyError


def machine(signature, isa="x86-64 avx512_vnni"):
    return {
        "cpu": "Maker",
        "cpu_signature": signature,
        "isa_class": isa,
        "label": f"Maker ({signature}), {isa}",
    }


def described(store, system, **looks):
    path = store.root / "systems" / f"{system}.json"
    path.write_text(json.dumps(machine(**looks)))


@pytest.fixture
def trees(filled, toys, tmp_path):
    """Eight runs of system a published, and the same from system b with one changed."""
    published, found = Store(tmp_path / "published"), Store(tmp_path / "found")
    for store, system, signature in (
        (published, "a" * 12, "1"),
        (found, "b" * 12, "2"),
    ):
        shutil.copytree(filled["work"].root, store.root)
        for path in (store.root / "systems").iterdir():
            path.unlink()
        described(store, system, signature=signature)
        for spec in toys.grid("full"):
            path = store.path(spec)
            record = json.loads(path.read_text())
            record["system"] = system
            if system.startswith("b") and spec == toys.grid("full")[3]:
                record["values"]["top1"]["value"] += 0.25
            path.write_text(json.dumps(record))
    return published, found


def kept(published, found):
    comparisons = verify.compare(published, found)
    return agreement.keep(comparisons, published=published, found=found)


def test_counts_by_chapter_and_kind_are_kept(trees):
    published, found = trees
    (path,) = kept(published, found)
    assert path == published.root / "agreement" / f"{'b' * 12}.json"
    assert (published.root / "systems" / path.name).exists()
    record = json.loads(path.read_text())
    assert record["runs"] == 8 and record["versions"]["numpy"] and record["commits"]
    toy = record["published"]["a" * 12]["toy"]
    assert toy["exact"] == {"compared": 16, "equal": 16, "agreeing": 16}
    # On one ISA class an isa value must be equal, and one is not.
    assert toy["isa"] == {"compared": 8, "equal": 7, "agreeing": 7}
    # Of the timings only the ratio is judged.
    assert toy["timing"]["compared"] == toy["timing"]["agreeing"] == 8
    before = path.read_bytes()
    assert kept(published, found) == [path] and path.read_bytes() == before


def test_collect_adds_them_up_by_how_close_the_processors_are(trees, monkeypatch):
    published, found = trees
    kept(published, found)
    made = agreement.numbers(published.root)
    key = "agreement.same_isa"
    assert made[f"{key}.isa.compared"].value == 8 == 1 + made[f"{key}.isa.equal"].value
    assert made[f"{key}.compared"].value == 32 and made[f"{key}.agreeing"].value == 31
    assert made[f"{key}.stochastic.compared"].value == 0
    assert made[f"{key}.machines"].value == "Maker (1) and Maker (2)"
    assert made[f"{key}.isa_class"].value == "x86-64 avx512_vnni"
    assert not any(k.startswith("agreement.other_isa") for k in made)
    quoted = {f"{key}.isa.equal"}
    monkeypatch.setattr("qstudy.study.collect.quoted_keys", lambda root: quoted)
    collect(published.root, origin="published")
    known = numbers.load(published.root)
    assert known[f"{key}.isa.equal"].value == 7 and f"{key}.compared" in known.unquoted
    # A work tree takes it from the results that complete it.
    collect(found.root, published=published.root)
    assert set(numbers.load(found.root)) == quoted


@pytest.mark.parametrize(
    ("looks", "relation"),
    [
        ({"signature": "1"}, "same_processor"),
        ({"signature": "2", "isa": "x86-64 avx2"}, "other_isa"),
    ],
)
def test_each_pair_has_its_relation(trees, looks, relation):
    published, found = trees
    described(found, "b" * 12, **looks)
    kept(published, found)
    made = agreement.numbers(published.root)
    assert {k.split(".")[1] for k in made} == {relation}
    # Across classes the tolerance of 0.5 points lets the changed value pass.
    agreeing = made[f"agreement.{relation}.isa.agreeing"].value
    assert agreeing == (8 if relation == "other_isa" else 7)
    assert made[f"agreement.{relation}.isa.equal"].value == 7


def test_a_tree_without_records_has_no_such_number(trees):
    assert agreement.numbers(trees[0].root) == {}


@pytest.mark.parametrize("text", ["", "{}", '{"system": "x", "published": 3}'])
def test_a_damaged_record_is_named_in_one_line(trees, text):
    published, found = trees
    (path,) = kept(published, found)
    path.write_text(text)
    with pytest.raises(StudyError, match=r"is damaged .* --keep") as error:
        agreement.numbers(published.root)
    assert path.name in str(error.value) and "\n" not in str(error.value)


def test_a_system_that_nobody_describes_is_named(trees):
    published, found = trees
    kept(published, found)
    (published.root / "systems" / f"{'b' * 12}.json").unlink()
    with pytest.raises(StudyError, match=r"system description .* is missing"):
        agreement.numbers(published.root)


def test_a_comparison_knows_both_systems(trees):
    comparisons = verify.compare(*trees)
    assert {c.systems for c in comparisons} == {("a" * 12, "b" * 12)}
    assert replace(comparisons[0], systems=("x", "y")).systems == ("x", "y")
