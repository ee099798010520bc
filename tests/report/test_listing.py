"""The study's own lines on a page: read from the file, without import or docstring."""

import ast
import inspect
import subprocess
import sys

import pytest

from qstudy.numerics import lsq
from qstudy.report.listing import listing


def test_it_is_the_functions_own_code_without_its_docstring():
    found = listing("numerics.lsq_steps.positive")
    from qstudy.numerics import lsq_steps

    whole = ast.parse(inspect.getsource(lsq_steps.positive)).body[0]
    assert ast.get_docstring(whole)
    whole.body = whole.body[1:]
    assert ast.unparse(ast.parse(found.code)) == ast.unparse(whole)
    # Comments stay.
    assert "# The difference is exactly 0" in found.code
    assert found._repr_mimebundle_()["text/markdown"].startswith(
        "```python\n# qstudy.numerics.lsq_steps.positive\ndef positive("
    )


def test_a_method_is_shown_with_its_decorator_and_not_indented():
    found = listing("numerics.lsq._LearnedStep.backward")
    assert found.code.startswith("@staticmethod\ndef backward(ctx")
    source = inspect.getsource(lsq._LearnedStep.backward)
    assert "".join(found.code.split()) == "".join(source.split())


def test_it_imports_no_torch():
    code = (
        "import sys; from qstudy.report.listing import listing; "
        "listing('numerics.lsq.fake_quantize'); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "name", ["numerics.lsq.nothing", "nowhere.at.all", "numerics.lsq.BITS", "lsq"]
)
def test_a_name_that_there_is_not_is_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' is no function of qstudy"):
        listing(name)
