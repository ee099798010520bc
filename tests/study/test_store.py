"""Records on disk: whole or absent, checked on reading, errors in one line."""

import errno
import json
import os

import numpy as np
import pytest

from qstudy.study import runner
from qstudy.study.store import Store
from qstudy.study.tree import StudyError, write_atomically


def one_line(error):
    return "\n" not in str(error.value)


def test_a_record_reads_back_as_it_was_written(filled, toys):
    spec = toys.grid("full")[2]
    record = filled["work"].read(spec)
    again = runner.run_one(spec, **filled)
    assert record.spec == spec
    assert dict(record.values) == dict(again.values)
    np.testing.assert_array_equal(
        record.arrays["predictions"], again.arrays["predictions"]
    )
    assert record.machine and record.seconds >= 0


def test_key_depends_on_every_field_and_on_nothing_else(toys):
    base = toys.spec(1)
    keys = {base.key, toys.spec(2).key, toys.spec(1, seed=1).key}
    keys.add(toys.spec(1, parent=toys.spec(0)).key)
    assert len(keys) == 4
    shuffled = dict(reversed(list(base.as_dict().items())))
    assert type(base).from_dict(shuffled).key == base.key


@pytest.mark.parametrize("damage", ["{", "", '{"spec": 3}', "[]"])
def test_a_damaged_record_is_named(filled, toys, damage):
    spec = toys.grid("full")[3]
    filled["work"].path(spec).write_text(damage)
    with pytest.raises(StudyError, match=r"damaged.*delete it") as error:
        filled["work"].read(spec)
    assert one_line(error)


def test_a_record_under_a_wrong_name_is_refused(filled, toys):
    first, second = toys.grid("full")[2:4]
    text = filled["work"].path(first).read_text()
    filled["work"].path(second).write_text(text)
    with pytest.raises(StudyError, match=r"not the one it is named after"):
        filled["work"].read(second)


def test_damaged_arrays_and_checkpoints_are_refused(filled, toys):
    spec = toys.grid("full")[2]
    work = filled["work"]
    record = work.read(spec)
    path = work.checkpoint(record)
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x00")
    with pytest.raises(StudyError, match=r"SHA-256") as error:
        work.checkpoint(record)
    assert one_line(error)
    path.unlink()
    with pytest.raises(StudyError, match=r"missing"):
        work.checkpoint(record)
    arrays = work.path(spec).with_suffix(".npz")
    arrays.write_bytes(arrays.read_bytes()[:-3])
    with pytest.raises(StudyError, match=r"arrays"):
        work.read(spec)


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    target = tmp_path / "runs" / "a.json"
    write_atomically(target, "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudyError, match=r"No space left.*free space") as error:
        write_atomically(target, "new")
    assert one_line(error)
    assert target.read_text() == "old"
    assert [p.name for p in target.parent.iterdir()] == ["a.json"]


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path, monkeypatch):
    target = tmp_path / "a.json"
    write_atomically(target, "old")

    def stopped(source, destination):
        assert target.read_text() == "old" and source.read_text() == "new"
        raise OSError(errno.EIO, "stopped here")

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(StudyError, match=r"stopped here"):
        write_atomically(target, "new")
    assert target.read_text() == "old"


def test_a_read_only_tree_is_named(tmp_path, monkeypatch, stores, toys):
    def refused(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(StudyError, match=r"Permission denied.*make it writable"):
        write_atomically(tmp_path / "x", "data")


def test_another_version_is_not_read(filled):
    store = Store(filled["work"].root)
    assert store.records("toy", 1) and not store.records("toy", 2)


def test_records_hold_no_timestamps_and_are_text(filled, toys):
    source = json.loads(filled["work"].path(toys.grid("full")[0]).read_text())
    assert set(source) == {
        *("spec", "values", "inputs", "artifacts", "seconds", "peak_mib"),
        *("versions", "commit", "system", "origin"),
    }
