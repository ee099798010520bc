"""Figures: bytes, words, one visual language."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from qstudy.report import figures, style


def draw(**words):
    figure, axis = style.new_figure()
    frame = pd.DataFrame({"x": [1, 2, 3], "top1": [90.0, 91.0, 90.5]})
    for name in style.METHODS:
        axis.errorbar(frame.x, frame.top1, yerr=0.2, **style.method_style(name))
    style.direct_label(axis, 2, 91.0, "static_int8")
    axis.set_xlabel("Batch")
    axis.legend()
    return figures.Figure(
        **{
            "name": "toy_line",
            "figure": figure,
            "data": frame,
            "alt": "A line with a peak.",
            "caption": "Accuracy peaks at 2.",
        }
        | words
    )


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        figures.publish(draw(), tmp_path / folder)
    for suffix in ("svg", "csv", "json"):
        first, second = (tmp_path / f / f"toy_line.{suffix}" for f in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_drawing_twice_from_another_process_gives_the_same_bytes(tmp_path):
    figures.publish(draw(), tmp_path / "a")
    code = (
        "import sys; from pathlib import Path; from tests.report.test_figures import *;"
        "figures.publish(draw(), Path(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "b")],
        check=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ".", "HOME": str(tmp_path)}
        | {"MPLCONFIGDIR": mpl.get_configdir()},
    )
    svg = (tmp_path / "a" / "toy_line.svg").read_bytes()
    assert svg == (tmp_path / "b" / "toy_line.svg").read_bytes()


def test_the_svg_has_real_text_no_date_and_an_opaque_ground(tmp_path):
    figures.publish(draw(), tmp_path)
    text = (tmp_path / "toy_line.svg").read_text()
    root = ET.fromstring(text)
    words = {e.text for e in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Batch", "static int8", "QAT"} <= words
    assert "date" not in text.lower() and "Matplotlib v" not in text
    ground = root.find(".//*[@id='patch_1']/{http://www.w3.org/2000/svg}path")
    assert "fill: #ffffff" in ground.get("style")
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_the_words_stand_beside_the_figure(tmp_path):
    figures.publish(draw(), tmp_path)
    assert json.loads((tmp_path / "toy_line.json").read_text()) == {
        "alt": "A line with a peak.",
        "caption": "Accuracy peaks at 2.",
    }
    data, told = figures.show(tmp_path, "toy_line")._repr_mimebundle_()
    assert data["image/svg+xml"] == (tmp_path / "toy_line.svg").read_text()
    assert told["image/svg+xml"] == {
        "alt": "A line with a peak.",
        "caption": "Accuracy peaks at 2.",
        "name": "fig-toy-line",
        "csv": "figures/toy_line.csv",
    }


@pytest.mark.parametrize("field", ["name", "alt", "caption"])
def test_a_figure_without_words_is_refused(field):
    with pytest.raises(ValueError, match=f"has {field} ' ': write a sentence"):
        draw(**{field: " "})


def test_a_missing_figure_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="'none' is not there"):
        figures.show(tmp_path, "none")


def test_each_method_has_its_own_colour_marker_and_label():
    looks = list(style.METHODS.values())
    for field in ("colour", "marker", "label"):
        assert len({getattr(m, field) for m in looks}) == len(looks)
    with pytest.raises(ValueError, match="method 'int9' is not one of"):
        style.method("int9")


def test_every_colour_stands_out_from_the_ground():
    """At least 2:1 by WCAG's relative luminance; markers and labels do the rest."""
    for name, look in style.METHODS.items():
        channels = np.array(mpl.colors.to_rgb(look.colour))
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        contrast = 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)
        assert contrast >= 2, f"{name}: {contrast:.2f}"


def test_making_a_figure_leaves_matplotlib_as_it_was():
    before = dict(mpl.rcParams)
    draw()
    assert dict(mpl.rcParams) == before


def test_the_room_imports_no_torch():
    code = (
        "import sys; from qstudy.report import figures, lint, numbers, render, "
        "sphinx_ext, style, tables; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


HOSTILE = """
text.usetex: True
savefig.transparent: True
savefig.dpi: 300
savefig.bbox: tight
xtick.direction: in
axes.linewidth: 7
font.family: monospace
lines.linestyle: --
errorbar.capsize: 9
axes.prop_cycle: cycler(color=["r", "g"])
svg.fonttype: path
legend.loc: upper center
"""


@pytest.mark.parametrize("way", ["new_figure", "own"])
def test_a_users_matplotlibrc_changes_nothing(tmp_path, way):
    """Figures that the house makes, and such that are made without its help."""
    (tmp_path / "matplotlibrc").write_text(HOSTILE)
    code = (
        "import sys; from pathlib import Path; import matplotlib; import pandas as pd;"
        "from tests.report.test_figures import *;"
        "assert matplotlib.rcParams['text.usetex'] is (sys.argv[2] == 'hostile');"
        "figures.publish(draw_own() if sys.argv[3] == 'own' else draw_within(),"
        " Path(sys.argv[1]))"
    )
    said = {}
    for home in ("plain", "hostile"):
        named = {"MATPLOTLIBRC": str(tmp_path)} if home == "hostile" else {}
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / home), home, way],
            check=True,
            env={"PYTHONPATH": ".", "HOME": str(tmp_path / home)}
            | {"MPLCONFIGDIR": mpl.get_configdir()}
            | named,
        )
        said[home] = (tmp_path / home / "toy_line.svg").read_bytes()
    assert said["plain"] == said["hostile"]


def draw_within():
    with style.context():
        return draw()


def draw_own():
    """A figure made without `new_figure`, as a chapter's code might."""
    frame = pd.DataFrame({"x": [1, 2], "y": [3.0, 4.0]})
    with style.context():
        figure = mpl.figure.Figure()
        axis = figure.subplots()
        axis.errorbar(frame.x, frame.y, yerr=0.5, label="$x^2$")
        axis.legend()
    return figures.Figure(
        name="toy_line", figure=figure, data=frame, alt="A line.", caption="It rises."
    )


def test_identifiers_are_the_figures_own(tmp_path):
    """Two figures of one page cannot take each other's clipping path or mark."""
    found = []
    for name in ("one", "two"):
        figures.publish(draw(name=name), tmp_path)
        text = (tmp_path / f"{name}.svg").read_text()
        used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
        made = set(re.findall(r'id="([^"]+)"', text))
        assert used and used <= made
        assert all(u.startswith(f"{name}-") for u in used)
        found.append(used)
    assert not found[0] & found[1]


@pytest.mark.parametrize(
    ("text", "settled"),
    [
        ('<path d="M 1.000412 2.000413"/>', '<path d="M 1 2.001"/>'),
        ('<path d="M -0.000587 -0.000588"/>', '<path d="M 0 -0.001"/>'),
        # Ties of thousandths: both sides of one bit's error give the same.
        ('<g x="7.812500" y="7.8124999"/>', '<g x="7.813" y="7.813"/>'),
        ('<text x="1.23456">2.14159</text>', '<text x="1.235">2.14159</text>'),
        ('<svg version="1.1" width="432pt">', '<svg version="1.1" width="432pt">'),
        ("<!-- 3.14159 -->", "<!-- 3.14159 -->"),
        ('<g x="12.999900"/>', '<g x="13"/>'),
    ],
)
def test_coordinates_are_cut_where_no_layout_lies(text, settled):
    assert figures._settled(text, name="toy") == settled


def test_a_figure_of_rows_from_two_places_says_so(tmp_path):
    from dataclasses import replace

    data = pd.DataFrame({"x": [1, 2], "origin": ["published", "regenerated"]})
    canvas, _ = style.new_figure()
    drawn = figures.Figure(name="f", figure=canvas, data=data, alt="A.", caption="C.")
    figures.publish(drawn, tmp_path)
    told = figures.show(tmp_path, "f").caption
    assert told.startswith("C. 1 of its 2 rows are taken over from the published")
    figures.publish(replace(drawn, data=data.assign(origin="published")), tmp_path)
    assert figures.show(tmp_path, "f").caption == "C."
