"""Figures: bytes, words, one visual language."""

import json
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
