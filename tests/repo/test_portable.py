"""Code that derives tables, figures and numbers leaves no digit to a kernel's choice.

A quick guard beside tests/study/test_same_bytes.py: it sees what no record of today
happens to show. `qstudy.measure.portable` says why, and has what to use instead.
"""

import ast
import re

import pytest

from tests.repo.checkout import ROOT

PARTS = "tables|numbers|figures|timing|columns"
DERIVING = sorted(
    path
    for path in (ROOT / "qstudy").rglob("*.py")
    if re.search(rf"experiments/(\w+/)?({PARTS})(_\w+)?\.py$", path.as_posix())
    or path.parent.name == "report"
    or path.name in ("collect.py", "cards.py", "agreement.py")
)
# Their last bit depends on SIMD width, fused operations, BLAS, LAPACK or the C library.
BY_NAME = {
    *("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "pow", "power"),
    *("sin", "cos", "tan", "tanh", "hypot", "geomspace", "logspace"),
    *("dot", "matmul", "inner", "einsum", "tensordot", "linalg", "fft", "polyfit"),
    *("average", "std", "var", "quantile", "percentile", "corrcoef", "cov", "corr"),
}
AVERAGES = {"mean", "median"}


def leaks(source):
    """(line, name) of what `source` leaves to a kernel, or sorts without an order."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            named = node.attr in BY_NAME and owner in ("np", "numpy", "math")
            method = node.attr in AVERAGES | {"std", "var", "quantile", "corr", "dot"}
            if named or (method and owner not in ("portable", "statistics")):
                found.append((node.lineno, node.attr))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            found.append((node.lineno, "@"))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in (
            "sort_values",
            "argsort",
        ):
            # NumPy's fast sorts order ties by the width of the processor's vectors.
            kinds = [k.value for k in node.keywords if k.arg == "kind"]
            if not kinds or ast.literal_eval(kinds[0]) != "stable":
                found.append((node.lineno, node.func.attr))
    return found


@pytest.mark.parametrize("path", DERIVING, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_derived_depends_on_a_kernel(path):
    assert leaks(path.read_text(encoding="utf-8")) == []


def test_all_that_derives_is_looked_at():
    names = {p.stem for p in DERIVING}
    assert {"collect", "cards", "style", "scales", "timing", "columns"} <= names
    chapters = {p.parent for p in (ROOT / "qstudy/experiments").glob("*/tables*.py")}
    for chapter in chapters:
        here = {p.stem for p in DERIVING if p.parent == chapter}
        assert {"tables", "numbers", "figures"} <= here, chapter


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("np.polyfit(x, y, 1)", ["polyfit"]),
        ("frame.ms.mean()", ["mean"]),
        ("portable.mean(frame.ms)", []),
        ("a @ b", ["@"]),
        ("frame.sort_values('ms')", ["sort_values"]),
        ("frame.sort_values('ms', kind='stable')", []),
        ("np.linalg.norm(x)", ["linalg"]),
        ("100 * np.abs(x).max()", []),
        ("getattr(seeds.top1, 'max')()", []),
    ],
)
def test_leaks_are_found(source, found):
    assert [name for _, name in leaks(source)] == found
