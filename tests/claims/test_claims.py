"""The ledger: rules on made-up and on published evidence, controls, rows, answers."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from qstudy import experiments
from qstudy.claims import entries, faults, guide, pages, rules
from qstudy.claims.ledger import (
    HOLDING,
    NOT_MEASURED,
    NOT_TESTABLE,
    VERDICTS,
    Claim,
    Control,
    Evidence,
    Finding,
    judge,
    judge_control,
)
from qstudy.claims.rules import common, training
from qstudy.measure.statistics import FAILS, HOLDS, UNDECIDED
from qstudy.report import numbers
from qstudy.spec import Number, RunSpec, Values
from qstudy.study.collect import gather
from qstudy.study.store import Store
from qstudy.study.tree import repository
from tests.experiments.records import record

RESULTS = repository() / "results"
# Claims whose planted fault is a run of the controls.
COMPUTED = ("deck.modes.static.loss", "pytorch.resnet50_accuracy")


@pytest.fixture(scope="module")
def chapters():
    """Tables and records of the published tree, by chapter."""
    made = {}
    for experiment in experiments.ALL:
        found = gather(experiment.NAME, tree=Store(RESULTS), published=None)
        made[experiment.NAME] = experiment.tables(found) if found else {}, found
    return made


@pytest.fixture(scope="module")
def published(chapters):
    """Tables and records of the published tree, all together."""
    return together(chapters.values())


def together(chapters):
    """Tables and records of several chapters as one."""
    tables, records = {}, []
    for made, found in chapters:
        tables |= made
        records += found
    return tables, records


@pytest.fixture(scope="module")
def evidence(published):
    tables, records = published
    return Evidence(tables, {r.spec.key: r for r in records})


def kept(experiment, *, arrays=None, seed=0, **params):
    """A record as a run of `experiment` would leave it."""
    spec = RunSpec(experiment=experiment, version=1, params=params, seed=seed)
    return record(spec, Values({}, arrays or {}))


def with_rule(rule, *, fault=lambda e: e, suppose=None):
    """A claim that `rule` decides."""
    return Claim(
        id="toy",
        wording="It holds.",
        source="hong2022",
        place="slide",
        chapter="static",
        condition="none",
        tolerance="none",
        rule=rule,
        control=Control("a fault", fault, suppose),
    )


# ---- what a verdict follows from


@pytest.mark.parametrize(
    ("low", "high", "limit", "over", "under"),
    [
        (1.1, 1.3, 1.0, HOLDS, FAILS),
        (0.7, 0.9, 1.0, FAILS, HOLDS),
        (0.9, 1.1, 1.0, UNDECIDED, UNDECIDED),
        (1.0, 1.2, 1.0, UNDECIDED, UNDECIDED),
    ],
)
def test_a_verdict_asks_for_the_whole_interval(low, high, limit, over, under):
    assert common.above(low, high, limit) == over
    assert common.at_most(low, high, limit) == under


def test_the_upper_limit_itself_is_at_most():
    assert common.at_most(0.5, 1.0, 1.0) == HOLDS


def test_several_parts_are_judged_by_their_worst():
    assert common.worst([HOLDS, HOLDS]) == HOLDS
    assert common.worst([HOLDS, UNDECIDED]) == UNDECIDED
    assert common.worst([UNDECIDED, FAILS, HOLDS]) == FAILS


def timings(**changes):
    """Two rows of one run, int8 three times as fast as the best of two fp32 forms."""
    made = kept("toy", warmup_seconds=0.5, task="latency")
    common_columns = {"model": "net", "batch": 1, "threads": 2, "n": 5}
    common_columns |= {"run": made.spec.key, "baseline": "best_fp32"}
    rows = [
        {"candidate": "fp32:eager", "ratio": 0.6, "ratio_lo": 0.5, "ratio_hi": 0.7},
        {"candidate": "fp32:compiled", "ratio": 1.0, "ratio_lo": 1, "ratio_hi": 1},
        {"candidate": "int8:x86", "ratio": 3.0, "ratio_lo": 2.9, "ratio_hi": 3.1},
    ]
    frame = pd.DataFrame([{**common_columns, **row} for row in rows]).assign(**changes)
    return Evidence({"t.csv": frame}, {made.spec.key: made})


SPEED = rules.speed("t.csv", "int8:x86", "best_fp32", model="net", batch=1)


def test_a_speed_is_judged_by_its_interval():
    found = judge(with_rule(SPEED), timings())
    assert found.verdict == HOLDS
    assert found.figures[0][1].value == 3.0 and found.figures[0][1].n == 5


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (faults.without_warmup("t.csv"), "timed without warm-up"),
        (faults.one_process("t.csv"), "1 process instead of 5"),
        (faults.eager_as_best("t.csv", "best_fp32"), "fp32:compiled is faster"),
        (faults.swapped("t.csv"), "faster than the baseline"),
    ],
)
def test_a_timing_that_may_not_be_judged_by_is_refused(fault, why):
    assert why in judge_control(with_rule(SPEED, fault=fault), timings())
    refused = judge(with_rule(SPEED), fault(timings()))
    assert refused.verdict == UNDECIDED and why in refused.remark


def test_a_control_that_is_not_rejected_says_so():
    assert judge_control(with_rule(SPEED), timings()) == "not rejected: holds"


def test_a_claim_that_does_not_hold_needs_supposed_rows_for_its_control():
    slow = timings(ratio=0.5, ratio_lo=0.4, ratio_hi=0.6)
    true = faults.supposed("t.csv", faults.ratio_of(3.0), candidate="int8:x86")
    fault = faults.one_process("t.csv")
    assert judge(with_rule(SPEED), slow).verdict == FAILS
    assert judge_control(with_rule(SPEED, fault=fault), slow).startswith("no control")
    told = judge_control(with_rule(SPEED, fault=fault, suppose=true), slow)
    assert told.startswith("rejected: 1 process")
    useless = with_rule(SPEED, fault=fault, suppose=lambda e: e)
    assert judge_control(useless, slow).startswith("no control")


def test_faults_leave_their_evidence_as_it_was():
    before = timings()
    copy = before.tables["t.csv"].copy()
    faults.after(
        faults.swapped("t.csv"),
        faults.eager_as_best("t.csv", "best_fp32"),
        faults.without_warmup("t.csv"),
    )(before)
    pd.testing.assert_frame_equal(before.tables["t.csv"], copy)
    (made,) = before.records.values()
    assert made.spec.params["warmup_seconds"] == 0.5


@pytest.mark.parametrize("lacking", ["table", "row", "record"])
def test_what_is_missing_is_not_measured(lacking):
    whole = timings()
    frame = whole.tables["t.csv"]
    short = {
        "table": Evidence({}, whole.records),
        "row": Evidence({"t.csv": frame[frame.candidate != "int8:x86"]}, whole.records),
        "record": Evidence(whole.tables, {}),
    }[lacking]
    assert judge(with_rule(SPEED), short).verdict == NOT_MEASURED
    assert judge_control(with_rule(SPEED), short) == NOT_MEASURED


# ---- training by seed


def seeds_of(method, correct, *, width="w8a8", experiment="qat"):
    """Records of ResNet-20 by seed, with the share of right answers given for each."""
    made = {}
    for seed, share in enumerate(correct):
        right = (np.arange(1000) < 1000 * share).astype(np.uint8)
        parent = {"experiment": "baselines", "version": 1, "params": {}, "seed": seed}
        one = kept(
            experiment,
            arrays={"correct": right},
            seed=seed,
            task="train" if method != "static_int8" else "ptq",
            method=method,
            width=width,
            model="resnet20",
            scored_on="test",
            parent=parent,
        )
        made[one.spec.key] = one
    return made


@pytest.mark.parametrize(
    ("trained", "verdict"),
    [
        ([0.95, 0.96, 0.95], HOLDS),
        ([0.85, 0.84, 0.85], FAILS),
        ([0.95, 0.85, 0.9], UNDECIDED),
    ],
)
def test_a_gain_by_training_is_judged_over_seeds(trained, verdict):
    records = seeds_of("qat", trained) | seeds_of("static_int8", [0.9, 0.9, 0.9])
    found = training.qat_gain("w8a8")(Evidence({}, records))
    assert found.verdict == verdict
    assert found.figures[0][1].n == 3 and len(found.figures[0][1].runs) == 6


def test_networks_of_another_start_or_width_are_not_taken():
    records = seeds_of("qat", [0.9, 0.9, 0.9], width="w4a4")
    with pytest.raises(Exception, match="qat: qat at w8a8"):
        training.trained(Evidence({}, records), "qat", "w8a8")


def test_calibrated_networks_passed_off_as_trained_show_no_gain():
    records = seeds_of("qat", [0.95, 0.96, 0.95])
    records |= seeds_of("static_int8", [0.9, 0.9, 0.9])
    claim = with_rule(training.qat_gain("w8a8"), fault=faults.static_as_qat("w8a8"))
    assert judge_control(claim, Evidence({}, records)) == "rejected: undecided here"


def varied(**shares):
    """Evidence of an ablation: the share that each seed of a condition gets right."""
    rows, records = [], {}
    for condition, given in shares.items():
        for key, one in seeds_of("qat", given, width=condition).items():
            rows.append({"condition": condition, "seed": one.spec.seed, "run": key})
            records[key] = one
    return Evidence({"runs.csv": pd.DataFrame(rows)}, records)


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ([0.95, 0.96, 0.95], HOLDS),
        ([0.85, 0.84, 0.85], FAILS),
        ([0.95, 0.85, 0.9], UNDECIDED),
        ([0.95], NOT_MEASURED),
    ],
)
def test_one_condition_is_held_against_another_seed_by_seed(shares, verdict):
    evidence = varied(one=shares, other=[0.9, 0.9, 0.9])
    rule = training.ablation("runs.csv", "one", over="other")
    claim = with_rule(rule, fault=faults.same_condition("runs.csv", "other", "one"))
    assert judge(claim, evidence).verdict == verdict
    if verdict == HOLDS:
        assert judge_control(claim, evidence) == "rejected: undecided here"
        assert judge(claim, evidence).figures[0][1].value == pytest.approx(16 / 3)


def learned(shares, *, width="w8a8", **others):
    """Evidence of learned steps by seed, and of `others`, over fp32 that gets 0.9."""
    fp32 = seeds_of("fp32", [0.9] * 3, experiment="static")
    rows = [
        {"model": "resnet20", "method": "fp32", "seed": r.spec.seed, "run": key}
        for key, r in fp32.items()
    ]
    made = seeds_of("lsq", shares, width=width, experiment="lsq")
    for method, given in others.items():
        made |= seeds_of(method, given, width=width)
    return Evidence({"static.csv": pd.DataFrame(rows)}, made | fp32)


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ([0.9], NOT_MEASURED),
        ([0.9, 0.9, 0.9], HOLDS),
        ([0.8, 0.8, 0.8], FAILS),
        ([0.9, 0.95, 0.8], UNDECIDED),
    ],
)
def test_learned_steps_judge_themselves_once_their_seeds_are_there(
    bits, shares, verdict
):
    claim = entries.by_id(f"esser.w{bits}")
    seen = learned(shares, width=f"w{bits}a{bits}")
    found = judge(claim, seen)
    assert found.verdict == verdict
    if verdict == NOT_MEASURED:
        assert judge_control(claim, seen) == NOT_MEASURED
    else:
        assert found.figures[0][1].n == 3
        assert judge_control(claim, seen) == "rejected: fails"
        assert verdict in (HOLDS, *claim.explained)


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ([0.9], NOT_MEASURED),
        ([0.9, 0.899, 0.9], HOLDS),
        ([0.95, 0.951, 0.95], FAILS),
        ([0.9, 0.95, 0.8], UNDECIDED),
    ],
)
def test_learned_ranges_are_held_against_those_that_are_followed(shares, verdict):
    claim = entries.by_id("wu.learned_ranges")
    seen = learned(shares, qat=[0.9] * 3)
    assert judge(claim, seen).verdict == verdict
    if verdict != NOT_MEASURED:
        assert judge_control(claim, seen) == "rejected: fails"


def gaps(*lost, n=1000):
    """qat_gap.csv of networks that lose so many points in the engine's kernels."""
    rows = [
        {"model": "resnet20", "width": "w8a8", "form": "x86", "seed": seed, "n": n}
        | {"simulated_top1": 90.0, "top1": 90.0 - points, "run": "a" * 64}
        for seed, points in enumerate(lost)
    ]
    return Evidence({"qat_gap.csv": pd.DataFrame(rows)})


@pytest.mark.parametrize(
    ("lost", "verdict"),
    [
        ([0.0, 0.01, 0.02], HOLDS),
        ([0.5, 0.51, 0.5], FAILS),
        ([0.1, 0.3, 0.2], UNDECIDED),
        ([0.0], NOT_MEASURED),
    ],
)
def test_what_was_simulated_is_held_against_the_kernels(lost, verdict):
    claim = entries.by_id("deck.qat.what")
    assert judge(claim, gaps(*lost)).verdict == verdict
    if verdict != NOT_MEASURED:
        assert judge_control(claim, gaps(*lost)) == "rejected: fails"


@pytest.mark.parametrize(("mib", "verdict"), [(10.0, HOLDS), (12.0, FAILS)])
def test_a_larger_network_is_weighed_as_a_file(mib, verdict):
    weighed = {"fp32:eager": 40.0, "int8:x86": mib}
    rows = [
        {"candidate": name, "size_mib": size, "run": "a" * 64}
        for name, size in weighed.items()
    ]
    rule = rules.file_ratio("t.csv", "int8:x86", least=3.5)
    found = judge(with_rule(rule), Evidence({"t.csv": pd.DataFrame(rows)}))
    assert found.verdict == verdict
    assert found.figures[0][1].value == pytest.approx(40 / mib)


@pytest.mark.parametrize(("differing", "verdict"), [(0, HOLDS), (1, FAILS)])
def test_a_range_of_the_call_explains_every_result(differing, verdict):
    rows = [{"engine": e, "differing": 0, "run": "a" * 64} for e in ("x86", "onednn")]
    rows[1]["differing"] = differing
    seen = Evidence({"dynamic_kernels.csv": pd.DataFrame(rows)})
    claim = entries.by_id("deck.modes.dynamic.what")
    assert judge(claim, seen).verdict == verdict
    assert judge_control(claim, seen) == "rejected: fails"


# ---- the published tree


@pytest.mark.parametrize("claim", entries.ALL, ids=[c.id for c in entries.ALL])
def test_every_control_on_published_evidence_is_rejected(claim, evidence):
    told = judge_control(claim, evidence)
    if claim.rule is None:
        assert told == ""
    elif told == NOT_MEASURED:
        # Either the claim itself is not measured, or its fault must be computed first.
        if judge(claim, evidence).verdict != NOT_MEASURED:
            assert claim.id in COMPUTED and "controls.csv" not in evidence.tables
    else:
        assert told.startswith("rejected: "), claim.control.fault


@pytest.mark.parametrize("claim", entries.ALL, ids=[c.id for c in entries.ALL])
def test_a_verdict_that_is_not_holds_is_explained(claim, evidence):
    found = judge(claim, evidence)
    assert found.verdict in VERDICTS
    if found.verdict not in (*HOLDING, NOT_MEASURED):
        assert claim.explained[found.verdict].endswith(".")


def test_claims_are_many_of_all_sources_and_named_once():
    ids = [claim.id for claim in entries.ALL]
    assert len(ids) == len(set(ids)) >= 25
    sources = {claim.source for claim in entries.ALL}
    assert sources >= {
        *("hong2022", "wu2020", "jacob2018", "krishnamoorthi2018", "esser2020"),
        "pytorchblog2020",
    }
    bibliography = (repository() / "chapters" / "references.bib").read_text()
    assert sources <= set(re.findall(r"@\w+\{(\w+),", bibliography))


def test_the_rules_agree_with_the_chapters_own_verdicts(published, evidence):
    tables, _ = published
    known = {}
    for experiment in (experiments.static, experiments.dynamic):
        known |= experiment.numbers(tables)
    for claim, key in {
        "deck.size": "static.claim.size",
        "deck.accuracy": "static.claim.accuracy",
        "deck.speed.eager_fp32": "static.claim.speed_eager",
        "deck.speed.eager_fp32_b64": "static.claim.speed_eager_b64_t2",
        "deck.speed.best_fp32": "static.claim.speed_best_fp32",
        "deck.speed.best_bf16_b64": "static.claim.speed_best_bf16_b64_t2",
    }.items():
        assert judge(entries.by_id(claim), evidence).verdict == known[key].value
    drop = judge(entries.by_id("deck.accuracy"), evidence).figures[0][1]
    chapter = known["static.resnet20.drop"]
    assert (drop.value, drop.low, drop.high) == (
        pytest.approx(chapter.value),
        pytest.approx(chapter.low),
        pytest.approx(chapter.high),
    )


@pytest.mark.parametrize("name", experiments.NAMES)
def test_a_tree_without_a_chapter_says_that_its_claims_are_not_measured(name, chapters):
    rest = together(made for chapter, made in chapters.items() if chapter != name)
    claims = [claim for claim in entries.ALL if claim.chapter == name]
    ledger, made = entries.collect(*rest, claims=claims)
    assert set(ledger.verdict) <= {NOT_MEASURED, NOT_TESTABLE}
    assert set(ledger.control_verdict.dropna()) <= {NOT_MEASURED}
    for claim in claims:
        assert made[f"ledger.figure.{claim.id}"].value == "–"
        assert made[f"ledger.claim.{claim.id}"].value in (NOT_MEASURED, NOT_TESTABLE)


def test_a_tree_without_a_chapter_still_judges_the_others(chapters):
    rest = together(made for name, made in chapters.items() if name != "static")
    claims = [claim for claim in entries.ALL if claim.chapter == "dynamic"]
    ledger, _ = entries.collect(*rest, claims=claims)
    assert HOLDS in set(ledger.verdict)
    nothing, _ = entries.collect({}, [])
    assert set(nothing.verdict) == {NOT_MEASURED, NOT_TESTABLE}


def test_the_guide_has_all_of_its_numbers_or_says_what_was_not_measured(published):
    found = guide.numbers(*published)
    assert {"guide.pt2e_b64", "guide.minutes.lsq_w2a2"} <= set(found)
    for key, number in found.items():
        assert isinstance(number.value, float) and number.runs, key
    minutes = {key: n.value for key, n in found.items() if ".minutes." in key}
    # Calibrating takes less than any training, and that less than from scratch.
    assert min(minutes, key=minutes.get) == "guide.minutes.static"
    assert minutes["guide.minutes.qat_w8a8"] < minutes["guide.minutes.fp32"]
    nothing = guide.numbers({}, [])
    assert set(nothing) == set(found)
    assert {number.value for number in nothing.values()} == {NOT_MEASURED}


@pytest.mark.parametrize("name", COMPUTED)
def test_a_computed_fault_is_rejected_once_it_is_there(name, evidence):
    claim = entries.by_id(name)
    assert judge(claim, evidence).verdict == HOLDS
    wrong = (np.arange(10_000) < 9_000).astype(np.uint8)
    one = kept("controls", arrays={"correct": wrong})
    rows = [
        {"model": "resnet20", "fault": fault, "run": one.spec.key}
        for fault in ("rounds_down", "half_scale")
    ]
    told = evidence.put("controls.csv", pd.DataFrame(rows)).put_record(one)
    assert judge_control(claim, told) == "rejected: fails"


def test_a_score_of_a_network_calibrated_on_test_images_is_refused(evidence):
    claim = entries.by_id("deck.types.static.accuracy")
    leaked = judge(claim, faults.reads_nothing(evidence))
    assert "calibrated on test images" in leaked.remark


# ---- rows, numbers, answers


def test_claims_csv_is_what_its_readers_were_promised():
    kept = (RESULTS / "tables" / entries.FILE).read_text(encoding="utf-8")
    promised = "claim,source,chapter,condition,tolerance,figure,verdict,control"
    assert kept.splitlines()[0] == f"{promised},control_verdict"
    ledger = entries.read(RESULTS)
    assert list(ledger.id) == [claim.id for claim in entries.ALL]
    assert list(ledger.claim) == [claim.wording for claim in entries.ALL]


def test_a_figure_names_its_parts():
    one = Number(3.78123, "×", 2)
    two = Number(-0.07, "pp", 2, -0.21, 0.07)
    assert entries.figure(Finding(HOLDS, (("", one),))) == "3.78×"
    told = entries.figure(Finding(HOLDS, (("size", one), ("drop", two)), "cold"))
    assert told == "size: 3.78×; drop: -0.07 pp [-0.21, 0.07]; cold"


def test_a_verdict_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="verdict 'maybe' is not one of"):
        Finding("maybe")
    claim = entries.by_id("deck.size")
    with pytest.raises(ValueError, match="a rule needs a control"):
        dataclasses.replace(claim, control=None)
    with pytest.raises(ValueError, match="say why it is not testable"):
        dataclasses.replace(claim, rule=None, control=None)


def test_an_unknown_claim_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"'deck.sise' .*nearest: deck\.size, "):
        entries.by_id("deck.sise")


def test_a_claim_is_told_with_what_explains_its_verdict():
    told = entries.told(entries.by_id("deck.formula.naming"), entries.read(RESULTS))
    assert "verdict          fails" in told and "the wrong way round" in told
    whole = entries.as_text(entries.read(RESULTS))
    assert len(whole.splitlines()) == len(entries.ALL)


def test_a_tree_without_the_ledger_is_told_the_way_out(tmp_path):
    with pytest.raises(FileNotFoundError, match="qstudy collect --tree"):
        entries.read(tmp_path)


# ---- pages


def test_the_page_shows_every_group_and_every_control():
    page = (repository() / "chapters" / "claims.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```\{claims\} (.*)$", page, re.MULTILINE)
    assert shown == list(entries.GROUPS)
    ledger = entries.read(RESULTS)
    text = "\n".join(line for g in shown for line in pages.group_table(ledger, g))
    for row in ledger.itertuples():
        assert f"`{row.id}`" in text
        if isinstance(row.control, str):
            assert f"{row.control}: {row.control_verdict}" in text


def test_an_explanation_follows_the_verdict_of_the_tree():
    ledger = entries.read(RESULTS)
    assert not any("deck.size" in s for s in pages.explained(ledger, verdicts=(FAILS,)))
    turned = ledger.assign(verdict=FAILS)
    told = "\n".join(pages.explained(turned, verdicts=(FAILS,)))
    assert entries.by_id("deck.size").explained[FAILS] in told


def test_a_table_without_a_claim_and_a_group_that_is_not_are_refused():
    ledger = entries.read(RESULTS)
    with pytest.raises(ValueError, match=r"lacks deck\.size"):
        pages.by_id(ledger[ledger.id != "deck.size"])
    with pytest.raises(ValueError, match="group 'none' is not one of"):
        pages.group_table(ledger, "none")


def test_readme_and_front_page_show_the_same_rows_of_the_ledger():
    root = repository()
    readme = (root / "README.md").read_text(encoding="utf-8")
    front = (root / "chapters" / "index.md").read_text(encoding="utf-8")
    in_readme = re.findall(r"<!-- q:ledger\.claim\.(\S+) -->", readme)
    on_front = re.findall(r"\{q\}`ledger\.claim\.([^`]+)`", front)
    assert in_readme == on_front[: len(in_readme)]
    assert set(in_readme) >= {c.id for c in entries.GROUPS[next(iter(entries.GROUPS))]}
    known = numbers.load(RESULTS)
    ledger = {row.id: row for row in entries.read(RESULTS).itertuples()}
    for name in on_front:
        assert known[f"ledger.claim.{name}"].value == ledger[name].verdict
        assert known[f"ledger.figure.{name}"].value == ledger[name].figure


def rows_of(page, heading):
    """The rows of the first table under a heading of a page, its header left out."""
    text = page.split(f"## {heading}\n", 1)[1]
    return re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0].splitlines()[2:]


def page_of(name):
    return (repository() / "chapters" / f"{name}.md").read_text(encoding="utf-8")


def test_the_front_page_begins_with_the_decision_and_ends_in_who_reads_what():
    front = page_of("index")
    assert re.findall(r"^## (.*)$", front, re.MULTILINE) == [
        "Which method, in one table",
        "Findings at a glance",
        "Who should read what",
    ]
    for row in rows_of(front, "Which method, in one table"):
        assert "{q}`" in row and re.search(r"\| \[\w+\]\(#[\w-]+\) \|$", row), row


@pytest.mark.parametrize(
    "heading",
    ["From the network to a method", "From the data and the time at hand"],
)
def test_each_arrow_of_the_guide_has_its_number_and_a_link(heading):
    rows = rows_of(page_of("guide"), heading)
    assert len(rows) >= 6
    for row in rows:
        assert "{q}`" in row or NOT_TESTABLE in row, row
        assert re.search(r"\]\((#[\w-]+|migration)\) \|$", row), row


def test_newcomers_questions_are_answered_from_numbers():
    guide_page = page_of("guide").split("## Questions that newcomers ask\n")[1]
    _, *answers = re.split(r"^### ", guide_page, flags=re.MULTILINE)
    assert len(answers) == 5
    for words, answer in zip(
        ("LSTM", "4 bits", "slower", "my own model", "number X"), answers, strict=True
    ):
        assert words in answer.splitlines()[0]
        assert "{q}`" in answer or "qstudy cite" in answer, words


def test_pages_of_the_guide_are_in_the_book():
    toc = yaml.safe_load((repository() / "_toc.yml").read_text())
    files = {c["file"] for part in toc["parts"] for c in part["chapters"]}
    for name in ("claims", "guide", "slow", "migration", "elsewhere"):
        assert f"chapters/{name}" in files


# ---- learned steps


def held_steps(away, *, bits=2, layers=5):
    """lsq_error.csv of one network whose best steps are `away` percent off."""
    rows = [
        {"model": "resnet20", "seed": 0, "weight_bits": bits, "bits": bits}
        | {"tensor": tensor, "measure": measure, "run": "a" * 64}
        | {"away_pct": away + layer, "share": 1 + (away + layer) / 100}
        | {"inside": True}
        for tensor in ("weight", "activation")
        for measure in ("mae", "mse", "kl")
        for layer in range(layers)
    ]
    return Evidence({"lsq_error.csv": pd.DataFrame(rows)})


@pytest.mark.parametrize(
    ("away", "verdict"), [(40.0, HOLDS), (0.0, UNDECIDED), (-3.5, FAILS)]
)
def test_a_learned_step_is_held_against_the_ones_that_err_least(away, verdict):
    claim = entries.by_id("esser.error")
    found = judge(claim, held_steps(away))
    assert found.verdict == verdict and len(found.figures) == 6
    assert found.figures[0][1].value == pytest.approx(away + 2)
    assert judge_control(claim, held_steps(away)) == "rejected: fails"
    assert judge(claim, held_steps(away, bits=4)).verdict == NOT_MEASURED
    assert judge(claim, held_steps(away, layers=1)).verdict == NOT_MEASURED
    # An end of what was tried is no least value, and is not counted as far away.
    frame = held_steps(away).table("lsq_error.csv")
    frame.loc[frame.measure == "kl", ["away_pct", "inside"]] = [99.0, False]
    found = judge(claim, Evidence({"lsq_error.csv": frame}))
    assert found.verdict == verdict and len(found.figures) == 4


def sized(two_bits, *, models=("resnet8", "resnet20")):
    """Networks by size; a large one of 2 bits is right about `two_bits` of 1000."""
    told = {
        ("resnet8", 2): (25, 700),
        ("resnet8", 8): (75, 850),
        ("resnet20", 2): (80, two_bits),
        ("resnet20", 8): (280, 930),
    }
    records, rows = {}, []
    for (model, bits), (size, right) in told.items():
        if model not in models:
            continue
        correct = (np.arange(1000) < right).astype(np.uint8)
        made = kept("lsq", arrays={"correct": correct}, model=model, bits=bits)
        records[made.spec.key] = made
        row = {"model": model, "method": "lsq", "weight_bits": bits}
        row |= {"size_kib": float(size), "top1": right / 10, "run": made.spec.key}
        rows.append(row)
    return Evidence({"lsq_size.csv": pd.DataFrame(rows)}, records)


@pytest.mark.parametrize(
    ("right", "verdict"), [(900, HOLDS), (850, UNDECIDED), (800, FAILS)]
)
def test_a_network_of_few_bits_must_beat_those_no_larger(right, verdict):
    claim = entries.by_id("deck.lsq.size")
    found = judge(claim, sized(right))
    assert found.verdict == verdict
    # The smallest network has none to beat, and proves nothing.
    ((label, gain),) = found.figures
    assert label == "resnet20 at 2 bits over resnet8 at 8"
    assert gain.value == pytest.approx((right - 850) / 10)
    assert judge_control(claim, sized(right)) == "rejected: fails"
    one = sized(right, models=("resnet20",))
    assert judge(claim, one).verdict == NOT_MEASURED


def test_distillation_at_3_bits_is_held_to_what_is_called_lossless():
    lsq = seeds_of("lsq", [0.899] * 3, width="w3a3", experiment="lsq")
    fp32 = seeds_of("fp32", [0.9] * 3, experiment="static")
    rows = [
        {"model": "resnet20", "method": "fp32", "seed": r.spec.seed, "run": key}
        for key, r in fp32.items()
    ]
    seen = Evidence({"static.csv": pd.DataFrame(rows)}, lsq | fp32)
    assert judge(entries.by_id("esser.distilled"), seen).verdict == HOLDS
    worse = seeds_of("lsq", [0.897] * 3, width="w3a3", experiment="lsq")
    seen = Evidence({"static.csv": pd.DataFrame(rows)}, worse | fp32)
    assert judge(entries.by_id("esser.distilled"), seen).verdict == FAILS
    assert judge(entries.by_id("esser.w3"), seen).verdict == HOLDS


def test_one_seed_judges_no_mean():
    lsq = seeds_of("lsq", [0.9], width="w4a4", experiment="lsq")
    told = judge(entries.by_id("esser.w4"), Evidence({}, lsq))
    assert told.verdict == NOT_MEASURED
