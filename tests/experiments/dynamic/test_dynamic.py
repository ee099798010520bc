"""The dynamic experiment: its grid, its tables, its verdicts."""

import numpy as np
import pytest

from qstudy.experiments import dynamic
from qstudy.experiments.dynamic.forms import FORMS
from qstudy.experiments.dynamic.grid import (
    COMPILED,
    latency_spec,
    quality_forms,
    quality_spec,
    train_spec,
)
from qstudy.experiments.dynamic.numbers import numbers
from qstudy.spec import Value, Values
from tests.experiments.records import record

GENRES = np.repeat(np.arange(4, dtype=np.uint8), 5)
SIZES = {"fp32": 40.0, "x86": 10.2, "bf16": 20.0}


def scored(how, hits, loss):
    spec = quality_spec(train_spec("lstm"), how)
    values = {
        "perplexity": Value(1.0, "", "isa", tolerance=1.0),
        "top1": Value(1.0, "%", "isa", tolerance=1.0),
        "parameters": Value(10, "count", "exact"),
        "quantized_parameters": Value(4 if how == "x86" else 0, "count", "exact"),
        "left_in_float": Value('["Embedding"]', "", "exact"),
    }
    for part, share in (("embedding", 0.5), ("weight", 0.4), ("other", 0.1)):
        values[f"size_mib/{part}"] = Value(share * SIZES[how], "MiB", "exact")
    values["size_mib/file"] = Value(SIZES[how], "MiB", "exact")
    tokens = np.full(20, 100)
    arrays = {"loss": loss, "hits": hits, "tokens": tokens, "genre": GENRES}
    return record(spec, Values(values=values, arrays=arrays))


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    hits, loss = rng.integers(20, 40, 20), rng.uniform(400, 500, 20)
    return dynamic.tables(
        [
            scored("x86", hits - 3, loss * 1.01),
            scored("fp32", hits, loss),
            scored("bf16", hits, loss),
        ]
    )


def test_differences_are_paired_by_text(made):
    frame = made["dynamic_quality.csv"].set_index("form")
    assert list(frame.index) == ["fp32", "bf16", "x86"], "the order of the forms"
    x86 = frame.loc["x86"]
    # Three of a hundred in every text: no luck is left once texts are paired.
    assert (x86.drop_pp, x86.drop_lo, x86.drop_hi) == pytest.approx((3, 3, 3))
    assert frame.loc["bf16"].drop_pp == 0 and np.isnan(frame.loc["fp32"].drop_pp)
    assert frame.loc["fp32"].top1_hi - frame.loc["fp32"].top1_lo > 1
    mean = np.log(frame.loc["fp32"].perplexity)
    assert x86.perplexity_rise_pct == pytest.approx(100 * np.expm1(0.01 * mean))
    assert x86.rise_lo < x86.perplexity_rise_pct < x86.rise_hi


def test_verdicts_follow_the_rules(made):
    quoted = numbers(made)
    assert quoted["dynamic.claim.lstm.accuracy"].value == "fails"
    assert quoted["dynamic.claim.lstm.size"].value == "holds"
    assert quoted["dynamic.lstm.x86.size_ratio"].value == pytest.approx(40 / 10.2)
    assert quoted["dynamic.lstm.embedding_share"].value == pytest.approx(50)
    size = made["dynamic_size.csv"].set_index("form")
    assert size.loc["x86"].left_in_float == "Embedding"
    assert size.loc["x86"].quantized_pct == 40


def test_quick_is_part_of_full_and_no_two_specs_are_alike():
    full = [s.key for s in dynamic.grid("full")]
    quick = [s.key for s in dynamic.grid("quick")]
    assert len(set(full)) == len(full) and set(quick) < set(full)
    tasks = {s.params["task"] for s in dynamic.grid("full")}
    assert tasks == {s.params["task"] for s in dynamic.grid("smoke")}
    assert not any(s.params["task"] == "train" for s in dynamic.grid("quick"))


def test_every_setting_of_the_map_is_timed_on_every_engine():
    seen = {}
    for spec in dynamic.grid("full"):
        p = spec.params
        if p["task"] == "latency":
            assert {"fp32:eager", "bf16:eager"} <= set(p["candidates"])
            for batch in p["batches"]:
                cell = (p["model"], p["threads"], p["length"], batch)
                seen.setdefault(cell, set()).update(p["candidates"])
    float_forms = {"fp32:eager", "bf16:eager", "fp16:fp16_weights"}
    engines = {f"int8:{e}" for e in ("x86", "fbgemm", "onednn")}
    more = {"lstm": set(), "minilm": {"int8:torchao", *COMPILED}}
    for batch in (1, 8, 32):
        for length in (16, 64, 128):
            for threads in (1, 2):
                for model, extra in more.items():
                    cell = seen[model, threads, length, batch]
                    assert cell == float_forms | engines | {"int8:qnnpack"} | extra
            for model in ("lstm_512", "lstm_1024", "bert_base"):
                assert seen[model, 2, length, batch] == float_forms | engines
        for threads in (1, 2):
            cell = seen["mlp", threads, 0, batch]
            assert cell == float_forms | engines | {"int8:qnnpack"} | more["minilm"]


def timed(candidates, **params):
    """A latency record: each candidate takes its ms, 5 processes, batch 1."""
    parent = train_spec("minilm")
    spec = latency_spec(
        "minilm", tuple(candidates), batches=(1,), length=64, parent=parent, **params
    )
    values = {}
    for name, ms in candidates.items():
        values[f"ms/{name}/b1"] = Value(ms, "ms", "timing", ms, ms)
        for base in ("eager_fp32", "best_fp32", "best_bf16"):
            sort = base.rpartition("_")[2]
            among = [t for n, t in candidates.items() if n.startswith(sort)]
            best = candidates["fp32:eager"] if base == "eager_fp32" else min(among)
            values[f"ratio/{base}/{name}/b1"] = Value(
                best / ms, "ratio", "timing", best / ms, best / ms
            )
    return record(spec, Values(values=values))


def test_the_best_float_form_is_looked_for_among_the_compiled_ones_too():
    made = dynamic.tables(
        [
            timed({"fp32:eager": 12, "bf16:eager": 9, "int8:x86": 4}),
            timed({"fp32:eager": 12, "bf16:eager": 90, "int8:qnnpack": 8}),
            timed(
                {
                    "fp32:eager": 12,
                    "fp32:compiled": 10,
                    "bf16:eager": 9,
                    "bf16:compiled": 3,
                    "int8:x86": 5,
                    "int8:torchao_compiled": 2,
                }
            ),
        ]
    )
    frame = made["dynamic_latency.csv"]
    assert set(frame.forms) == {"eager", "slow engines", "with compiled"}
    quoted = numbers(made)
    assert quoted["dynamic.minilm.speed_eager"].value == pytest.approx(12 / 4)
    assert quoted["dynamic.minilm.speed_best_fp32"].value == pytest.approx(10 / 5)
    assert quoted["dynamic.minilm.speed_best_bf16"].value == pytest.approx(3 / 5)
    assert quoted["dynamic.minilm.speed_bf16_eager_b1_l64_t2"].value == 12 / 9
    # Of the int8 forms the fastest meets the fastest bf16.
    assert quoted["dynamic.minilm.bf16.least"].value == pytest.approx(3 / 2)
    counts = [
        quoted[f"dynamic.minilm.bf16.{name}"].value
        for name in ("settings", "int8_faster", "bf16_faster")
    ]
    assert counts == [1, 1, 0]


def test_forms_that_a_network_cannot_take_are_not_asked_of_it():
    assert "x86_per_channel_8_bit" not in quality_forms("lstm")
    assert "x86_embedding" not in quality_forms("mlp")
    assert set(quality_forms("minilm")) == set(FORMS)


def test_an_unknown_task_is_named():
    spec = train_spec("mlp")
    wrong = type(spec)(
        experiment="dynamic", version=1, params={**spec.params, "task": "guess"}
    )
    with pytest.raises(ValueError, match="task 'guess' is not one of"):
        dynamic.run(wrong, None)
