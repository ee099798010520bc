"""What a timing needs of its machine, and what is said where it lacks it."""

import psutil
import pytest

from qstudy.measure import conditions

GOOD = {
    "isa_class": "x86-64 avx512_vnni",
    "flags": ["avx512_vnni", "avx512f", "avx2"],
    "overrides": {},
}


@pytest.mark.parametrize("threads", [0, -1, (psutil.cpu_count() or 1) + 1])
def test_threads_that_are_not_there_are_refused(threads):
    with pytest.raises(ValueError, match=f"threads {threads} is not from 1 to"):
        conditions.check_threads(threads)


def test_threads_that_are_there_pass():
    conditions.check_threads(1)
    conditions.check_threads(psutil.cpu_count() or 1)


def test_a_load_is_asked_for_and_judged():
    asked = []
    load = conditions.other_load(seconds=0.3, percent=lambda s: asked.append(s) or 42)
    assert load == 42.0 and asked == [0.3]
    assert conditions.busy_note(load).startswith("This machine is busy: 42 % of")
    assert conditions.busy_note(conditions.BUSY_PERCENT) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"flags": ["avx512f", "avx2"]}, ["no VNNI"]),
        ({"flags": ["avx2"]}, ["no VNNI", "no AVX-512"]),
        ({"flags": ["avx_vnni", "avx2"]}, ["no AVX-512"]),
        ({"isa_class": "aarch64 i8mm", "flags": ["i8mm"]}, ["aarch64 i8mm"]),
        ({"overrides": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}, ["ONEDNN_MAX_CPU_ISA=AVX2"]),
        ({}, []),
    ],
)
def test_missing_instructions_are_said(change, words):
    notes = conditions.isa_notes({**GOOD, **change})
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))
