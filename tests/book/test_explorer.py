"""The explorer computes the integers of qstudy.numerics, and refuses bad input."""

import json
import math
import re
import shutil
from html import unescape

import numpy as np
import pytest
import torch

from qstudy.numerics import error
from qstudy.numerics.granularity import PerChannel, PerTensor
from qstudy.numerics.mapping import ROUNDINGS, code_range, dequantize, quantize
from qstudy.numerics.qparams import choose_qparams, range_of
from qstudy.report import explorer
from tests.book import books, browser

STATIC = books.ROOT / "chapters" / "_static"
CASES = 1000
CONVENTIONS = ("max_code", "half_range", "both_ends", "min_code")


def case(rng):
    """Random settings and a (channels, 8) tensor with many ties and some outliers."""
    signed = bool(rng.integers(2))
    per_channel = bool(rng.integers(2))
    channels = int(rng.integers(1, 4))
    size = 10.0 ** rng.uniform(-6, 4)
    x = rng.normal(size=(channels, 8)) * size
    bits = int(rng.integers(2, 17))
    if rng.integers(2):  # multiples of a half of a round step: ties
        x = np.round(x / size * 4) * size / 2 ** rng.integers(1, 8)
    made = {
        "bits": bits,
        "isSigned": signed,
        "scheme": str(rng.choice(["affine", "scale"])),
        "convention": str(rng.choice(CONVENTIONS)) if signed else "unsigned",
        "rounding": str(rng.choice(list(ROUNDINGS))),
        "granularity": "per_channel" if per_channel else "per_tensor",
        "channels": channels,
        "values": [float(v) for v in x.astype(np.float32).ravel()],
    }
    clip = not per_channel and bool(rng.integers(2))
    made["range"] = sorted(map(float, np.float32(rng.normal(size=2) * size)))
    return made if clip else {**made, "range": None}


def expected(given):
    """What qstudy.numerics makes of a case, in float32."""
    x = torch.tensor(given["values"], dtype=torch.float32)
    x = x.reshape(given["channels"], -1)
    shared = PerChannel(0) if given["granularity"] == "per_channel" else PerTensor()
    if given["range"]:
        low, high = (torch.tensor(v, dtype=torch.float32) for v in given["range"])
    else:
        low, high = range_of(x, shared)
    qparams = choose_qparams(
        low,
        high,
        codes=code_range(given["bits"], signed=given["isSigned"]),
        scheme=given["scheme"],
        convention=given["convention"],
        granularity=shared,
        rounding=given["rounding"],
    )
    codes = quantize(x, qparams, rounding=given["rounding"])
    back = dequantize(codes, qparams)
    return {
        "scales": qparams.scale.flatten().tolist(),
        "zeros": qparams.zero_point.flatten().tolist(),
        "codes": codes.flatten().tolist(),
        "values": back.flatten().tolist(),
        "sqnr": error.sqnr(x, back),
    }


RUN = """
const found = CASES.map((c) => {
  const made = qstudyExplorer.quantizeTensor(
    Float32Array.from(c.values), c.channels, c, c.range);
  return {scales: made.qparams.map((q) => q.scale),
          zeros: made.qparams.map((q) => q.zero),
          codes: Array.from(made.codes), values: Array.from(made.values),
          sqnr: Number.isFinite(made.sqnr) ? made.sqnr : String(made.sqnr)};
});
document.body.innerHTML = "<pre>" + JSON.stringify(found) + "</pre>";
"""


@browser.needed
def test_a_thousand_random_cases_have_the_integers_of_numerics(tmp_path):
    rng = np.random.default_rng(20)
    cases = [case(rng) for _ in range(CASES)]
    shutil.copy(STATIC / "explorer.js", tmp_path)
    (tmp_path / "cases.js").write_text(f"const CASES = {json.dumps(cases)};")
    (tmp_path / "run.js").write_text(RUN)
    scripts = ("explorer.js", "cases.js", "run.js")
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><body>"
        + "".join(f'<script src="{name}"></script>' for name in scripts)
    )
    document = browser.rendered(page, tmp_path / "profile")
    found = json.loads(unescape(re.search(r"<pre>(.*)</pre>", document, re.DOTALL)[1]))
    assert len(found) == CASES
    ties = 0
    for given, mine in zip(cases, found, strict=True):
        theirs = expected(given)
        for name in ("scales", "zeros", "codes", "values"):
            assert mine[name] == theirs[name], (name, given)
        if math.isinf(theirs["sqnr"]):
            assert mine["sqnr"] in ("Infinity", "-Infinity")
        else:
            assert math.isclose(mine["sqnr"], theirs["sqnr"], rel_tol=1e-9), given
        steps = np.float32(given["values"]) / np.float32(theirs["scales"][0])
        ties += int((np.abs(steps - np.trunc(steps)) == 0.5).sum())
    assert ties > 50, "the cases hardly try the rounding rules"


def fragment():
    """The explorer's own part of its page."""
    source = (books.ROOT / "chapters" / "explorer.md").read_text(encoding="utf-8")
    (html,) = re.findall(r"```\{raw\} html\n(.*?)```", source, re.DOTALL)
    return html


@pytest.fixture
def explored(tmp_path):
    """Opens the page, does what a script says, and gives the document and its notes."""
    static = tmp_path / "_static"
    static.mkdir()
    shutil.copy(STATIC / "explorer.js", static)
    checkpoint = explorer.find_checkpoint(books.ROOT / "results")
    (static / "explorer-weights.js").write_text(explorer.weights_script(checkpoint))
    folder = tmp_path / "chapters"
    folder.mkdir()

    def run(script):
        driver = f"""
        const field = (name) => document.querySelector(`[name="${{name}}"]`);
        const out = (name) =>
          document.querySelector(`[data-out="${{name}}"]`).textContent;
        const set = (name, value) => {{
          field(name).value = value;
          field(name).dispatchEvent(new Event("input", {{bubbles: true}}));
        }};
        const alert = () => document.querySelector("[role=alert]").textContent;
        const notes = [];
        document.addEventListener("DOMContentLoaded", () => {{
          {script}
          const told = document.createElement("pre");
          told.textContent = JSON.stringify(notes);
          document.body.append(told);
        }});"""
        page = folder / "explorer.html"
        page.write_text(
            f"<!doctype html><meta charset=utf-8>{fragment()}<script>{driver}</script>"
        )
        document = browser.rendered(page, tmp_path / "profile")
        return json.loads(unescape(re.findall(r"<pre>(.*)</pre>", document)[-1]))

    return run


@browser.needed
def test_bad_input_keeps_the_last_state_and_says_why(explored):
    refused = [
        ("bits", "0", "bits 0 is not a whole number from 2 to 16"),
        ("bits", "", "bits is empty"),
        ("bits", "eight", 'bits "eight" is not a number'),
        ("bits", "4.5", "bits 4.5 is not a whole number from 2 to 16"),
        ("low", "5", "range 5 to 1 is reversed"),
        ("high", "", "range to is empty"),
        ("x", "a", 'x "a" is not a number'),
    ]
    script = "notes.push([out('scale'), out('code'), alert()]);"
    for name, value, _ in refused:
        script += f"""
        set("{name}", {json.dumps(value)});
        notes.push([out("scale"), out("code"), alert()]);
        set("{name}", {{bits: "4", low: "-1", high: "1", x: "0.1"}}["{name}"]);"""
    script += "notes.push([out('scale'), out('code'), alert()]);"
    first, *found, last = explored(script)
    # s = 2/15; in float32 -1 / s is above -7.5, so z = -8 + 7, and 0.1 has code z + 1.
    assert first == ["0.13333334", "0", ""] and last == first
    for (name, value, why), (scale, code, told) in zip(refused, found, strict=True):
        assert (scale, code) == tuple(first[:2]), (name, value)
        assert told.startswith(why) and "unchanged" in told, (name, value, told)


@browser.needed
def test_real_weights_and_the_keyboard(explored):
    notes = explored(
        """
        set("source", "stage3.2.conv2");
        set("bits", "4"); set("scheme", "scale");
        notes.push(out("sqnr"), out("other"));
        set("granularity", "per_channel"); set("channel", "5");
        notes.push(out("sqnr"), out("scale"));
        set("channel", "64");
        notes.push(alert());
        set("channel", "5");
        const before = Number(field("x").value);
        document.querySelector("svg").dispatchEvent(
          new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));
        notes.push(Number(field("x").value) > before);
        """
    )
    from safetensors.torch import load_file

    stored = load_file(explorer.find_checkpoint(books.ROOT / "results"))
    weight = stored["stage3.2.conv2.weight"]
    sqnr = {}
    for name, shared in (("tensor", PerTensor()), ("channel", PerChannel(0))):
        low, high = range_of(weight, shared)
        made = choose_qparams(
            low, high, codes=code_range(4), scheme="scale", granularity=shared
        )
        sqnr[name] = error.sqnr(weight, dequantize(quantize(weight, made), made))
    assert notes[0] == f"{sqnr['tensor']:.4g} dB"
    assert notes[1] == f"{sqnr['channel']:.4g} dB with one scale a channel"
    assert notes[2] == f"{sqnr['channel']:.4g} dB"
    assert float(notes[3]) == pytest.approx(made.scale[5].item(), rel=1e-7)
    assert notes[4].startswith("channel 64 is not a whole number from 0 to 63")
    assert notes[5] is True


def test_the_explorer_loads_nothing_from_other_hosts():
    assert not books.foreign(fragment())
    script = (STATIC / "explorer.js").read_text(encoding="utf-8")
    assert re.findall(r"https?://[^\"]*", script) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"\b(fetch|XMLHttpRequest|import)\s*\(", script)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="restore it with git"):
        explorer.weights_script(explorer.find_checkpoint(tmp_path))
