"""The published vectors, the judge that puts them, and who differs where."""

import json
import re
import sys

import numpy as np
import pytest
import torch

from qstudy.methods import conformance
from qstudy.methods.conformance import NotOffered, Vector, implementations
from qstudy.numerics import fixedpoint, integer, mapping
from qstudy.study import cli

OURS = "qstudy.methods.conformance.implementations"
# Where an implementation answers otherwise than the source of a vector.
DIFFERS = {
    # A range that holds 0 alone: the sources do not agree among themselves.
    "qstudy": {"tflite-choose-empty-range", "ort-scale-uint8-zero-range"},
    # Ties at odd zero points, and products with 1 / scale in place of quotients.
    "torch": {
        "torch-quantize-ties-odd-zero-point",
        "ort-quantize-int8",
        "ort-quantize-int8-negative-zero-point",
        "ort-quantize-int8-positive-zero-point",
    },
    "torchao": {
        "ort-quantize-int8",
        "ort-quantize-int8-negative-zero-point",
        "ort-quantize-int8-positive-zero-point",
    },
    "onnxruntime": {"tflite-choose-empty-range"},
    "onnx_reference": set(),
}
# At least so many vectors each is asked: "not offered" must not hide a breakage.
OFFERED = {
    "qstudy": 187,
    "torch": 64,
    "torchao": 77,
    "onnxruntime": 94,
    "onnx_reference": 61,
}
OPS = {
    *("quantize", "dequantize", "round", "choose_qparams", "dynamic_quantize"),
    *("quantize_multiplier", "multiply_fixed_point", "high_multiply"),
    *("divide_by_power_of_two", "integer_linear", "integer_conv2d"),
    *("qlinear_matmul", "qlinear_conv2d", "calibrate"),
}


def outcomes(implementation):
    return [conformance.check(v, implementation) for v in conformance.load()]


def differing(implementation):
    found = outcomes(implementation)
    return {o.vector.id for o in found if o.result == "differs"}


def test_the_vectors_have_names_of_their_own_and_a_source_each():
    vectors = conformance.load()
    assert len(vectors) == len({v.id for v in vectors}) >= 180
    place = r"([\w.-]+/[\w.-]+@[0-9a-f]{12}|(onnx|torch) \d+\.\d+\.\d+), \S+\.\w+"
    thread = r"[\w.-]+/[\w.-]+ (issue|pull request) \d+ \(.+\)"
    for vector in vectors:
        assert re.fullmatch(r"[a-z0-9-]+", vector.id)
        assert re.fullmatch(f"{place}|{thread}", vector.source), vector.id
        assert vector.convention and vector.expected and vector.input, vector.id
        assert vector.tolerance >= 0


def test_the_vectors_put_every_operation_and_no_other():
    assert {v.op for v in conformance.load()} == OPS
    with pytest.raises(NotOffered, match="no operation 'softmax'"):
        implementations.qstudy("softmax", {}, {})


def test_few_vectors_are_derived_and_each_says_by_what_formula():
    vectors = conformance.load()
    derived = [v for v in vectors if v.derived]
    assert 0 < len(derived) < len(vectors) / 4
    assert all(v.derived in (True, False) for v in vectors)
    assert all(v.note for v in derived)


@pytest.mark.parametrize("name", DIFFERS)
def test_an_implementation_differs_where_it_is_known_to_and_nowhere_else(name):
    here = implementations.installed()
    if name not in here:
        pytest.skip(f"{name} is not installed")
    found = outcomes(here[name])
    assert {o.vector.id for o in found if o.result == "differs"} == DIFFERS[name]
    assert sum(o.result != "not offered" for o in found) >= OFFERED[name]
    assert {o.result for o in found} <= set(conformance.RESULTS)


def half_away(x, *, rounding="half_even"):
    return torch.sign(x) * torch.floor(x.abs() + 0.5)


def doubled_once(a, b):
    return (a * torch.as_tensor(b)) >> 31


def without_zero_point(x, weight, **options):
    return x.to(torch.int32) @ weight.to(torch.int32).t()


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (mapping, "round_to_integer", half_away),
        (fixedpoint, "rounding_doubling_high_multiply", doubled_once),
        (integer, "linear_sums", without_zero_point),
    ],
    ids=["rounding", "fixed point", "zero point"],
)
def test_a_wrong_arithmetic_fails_some_vector(monkeypatch, module, name, wrong):
    monkeypatch.setattr(module, name, wrong)
    assert differing(implementations.qstudy) > DIFFERS["qstudy"]


def vector(**changes):
    parts = {
        "id": "one",
        "op": "quantize",
        "parameters": {"scale": 0.5},
        "input": {"x": [1.0, 2.0]},
        "expected": {"codes": [2, 4]},
        "tolerance": 0.0,
        "convention": "affine",
        "source": "a, b.py",
        "derived": False,
    }
    return Vector(**parts | changes)


def check(found, **changes):
    outcome = conformance.check(vector(**changes), lambda op, parameters, input: found)
    return outcome.result, outcome.found


@pytest.mark.parametrize(
    "codes",
    [[2, 4], (2.0, 4.0), np.array([2, 4]), torch.tensor([[2, 4]], dtype=torch.int8)],
    ids=["list", "tuple", "array", "tensor"],
)
def test_a_right_answer_passes_in_any_form(codes):
    assert check({"codes": codes, "more": "ignored"}) == ("passes", "")


def test_an_implementation_is_given_the_vector_s_own_words():
    given = []

    def implementation(op, parameters, input):
        given.append((op, dict(parameters), dict(input)))
        parameters.clear()
        input.clear()
        return {"codes": [2, 4]}

    one = vector()
    for _ in range(2):
        assert conformance.check(one, implementation).result == "passes"
    assert given == [("quantize", {"scale": 0.5}, {"x": [1.0, 2.0]})] * 2


def test_a_wrong_answer_is_told_at_its_worst_place():
    expected = {"codes": [2, 4], "zero_point": 3}
    told = check({"codes": [1, 9], "zero_point": 3}, expected=expected)
    assert told == ("differs", "codes: 9, expected 4")
    told = check({"codes": [2, 4], "zero_point": 0}, expected=expected)
    assert told == ("differs", "zero_point: 0, expected 3")


def test_the_tolerance_itself_still_passes():
    scale = {"expected": {"scale": 1.0}, "tolerance": 0.25}
    for value, result in ((1.25, "passes"), (0.75, "passes"), (1.2500001, "differs")):
        assert check({"scale": value}, **scale)[0] == result
    assert check({"codes": [2, 5]})[0] == "differs"


def test_a_missing_field_or_another_shape_differs():
    assert check({"y": [2, 4]}) == ("differs", "gives no codes")
    told = check({"codes": [2, 4, 6]})
    assert told == ("differs", "codes of shape (3,), not (2,)")


def test_nan_is_never_near_enough():
    assert check({"codes": [2, float("nan")]})[0] == "differs"


@pytest.mark.parametrize(
    "found",
    [
        None,
        {"codes": [float("nan")] * 2},
        {"codes": ["2", "four"]},
        {"codes": [[1, 2], [3]]},
    ],
    ids=["no mapping", "all NaN", "words", "ragged"],
)
def test_an_answer_that_is_no_number_differs_and_does_not_stop_the_others(found):
    result, told = check(found)
    assert result == "differs" and told and "\n" not in told


def test_what_raises_differs_in_one_line_and_what_declines_does_not():
    def broken(op, parameters, input):
        raise RuntimeError("first\n  second " + "x" * 300)

    def declining(op, parameters, input):
        raise NotOffered("int4 alone")

    outcome = conformance.check(vector(), broken)
    assert outcome.result == "differs"
    assert outcome.found.startswith("RuntimeError: first second x")
    assert len(outcome.found) == 200
    outcome = conformance.check(vector(), declining)
    assert (outcome.result, outcome.found) == ("not offered", "int4 alone")


def fields(**changes):
    return {**vars(vector()), **changes}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no file of vectors"),
        ("[]", "is no file of vectors"),
        ('{"about": ""}', "is no file of vectors"),
        (json.dumps({"vectors": [{"id": "a"}]}), "is no file of vectors"),
        (json.dumps({"vectors": [fields(more=1)]}), "is no file of vectors"),
        (json.dumps({"vectors": []}), "has 0 vectors, 0 repeated"),
        (json.dumps({"vectors": [fields()] * 3}), "has 3 vectors, 2 repeated"),
    ],
)
def test_a_file_that_cannot_count_is_refused_in_one_line(tmp_path, content, words):
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"mine.json {words}") as error:
        conformance.load(path)
    assert "\n" not in str(error.value)


def test_a_file_of_one_s_own_is_read(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"vectors": [fields(note="n"), fields(id="two")]}))
    first, second = conformance.load(path)
    assert first == vector(note="n") and second == vector(id="two")


def test_an_implementation_is_found_by_name():
    name = f"{OURS}:qstudy"
    assert conformance.named(name) is implementations.qstudy


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nowhere_at_all:f", "cannot be imported: .*named 'nowhere_at_all'"),
        (
            "qstudy.methods.conformance.implementations:nope",
            "cannot be imported: .* 'nope'",
        ),
        (
            "qstudy.methods.conformance.implementations:IMPLEMENTATIONS",
            "is not module:function",
        ),
        (OURS, "is not module:function"),
        (":qstudy", "is not module:function"),
        ("json:", "is not module:function"),
    ],
)
def test_a_name_without_a_function_is_refused(reference, words):
    with pytest.raises(ValueError, match=f"implementation .{reference}. {words}"):
        conformance.named(reference)


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run `qstudy conformance ...` in an empty folder; (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    # The command looks for modules in the current folder; other tests must not.
    monkeypatch.setattr(sys, "path", [*sys.path])

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["qstudy", "conformance", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return stop.value.code or 0, out, err

    return call


@pytest.fixture
def module(monkeypatch, tmp_path):
    """Write a module of this name into the current folder, forgotten afterwards."""

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        # Registered, so that the entry which importing makes is taken out again.
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]

    return write


def test_help_shows_an_example(command):
    code, out, _ = command("--help")
    assert code == 0
    assert "Example: qstudy conformance --implementation my_module:mine" in out


def test_the_command_counts_for_every_installed_implementation(command, monkeypatch):
    chosen = {"qstudy": implementations.qstudy}
    monkeypatch.setattr(implementations, "installed", lambda: chosen)
    count = len(conformance.load())
    code, out, _ = command()
    # Known differences of the installed ones are told and are no failure.
    assert code == 0
    assert f"qstudy: {count} vectors, {count - 2} passes, 2 differs, 0 not off" in out
    for name in DIFFERS["qstudy"]:
        assert f"differs: qstudy {name}: " in out


def test_the_installed_implementations_are_those_whose_packages_are_here(monkeypatch):
    missing = {"torchao", "onnx"}
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in missing else name
    )
    assert [*implementations.installed()] == ["qstudy", "torch", "onnxruntime"]
    missing |= {"onnxruntime"}
    missing -= {"onnx"}
    assert [*implementations.installed()] == ["qstudy", "torch", "onnx_reference"]


def test_an_implementation_of_one_s_own_that_passes_exits_with_0(command, module):
    module(
        "tested_rounding",
        "import numpy as np\n"
        "from qstudy.methods.conformance import NotOffered\n"
        "def mine(op, parameters, input):\n"
        "    if (op, parameters.get('rounding')) != ('round', 'half_even'):\n"
        "        raise NotOffered('rounding alone')\n"
        "    return {'y': np.round(input['x'])}\n",
    )
    code, out, _ = command("--implementation", "tested_rounding:mine")
    assert code == 0
    (line,) = out.splitlines()
    count = len(conformance.load())
    found = re.fullmatch(
        rf"tested_rounding:mine: {count} vectors, (\d+) passes, 0 differs, "
        r"(\d+) not offered",
        line,
    )
    assert int(found[1]) >= 1 and int(found[1]) + int(found[2]) == count


def test_one_that_differs_exits_with_1_and_is_told_where(command, module):
    module(
        "tested_zeros",
        "def mine(op, parameters, input):\n    return {'codes': 0, 'y': 0}\n",
    )
    code, out, _ = command("--implementation", "tested_zeros:mine")
    assert code == 1
    first = (
        r"differs: tested_zeros:mine tflite-choose-straddling and \d+ more: gives no"
    )
    assert re.match(first, out)
    lines = [line for line in out.splitlines() if line.startswith("differs: ")]
    more = sum(
        int(n) for n in re.findall(r"^differs: \S+ \S+ and (\d+) more", out, re.M)
    )
    told = len(lines) + more
    assert f"{told} differs, 0 not offered" in out and told > 100 > len(lines)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return None", "gives None, no fields by name"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("return [1, 2]", "gives [1, 2], no fields by name"),
    ],
)
def test_one_that_never_answers_is_told_in_one_line(command, module, body, words):
    module("tested_nothing", f"def mine(op, parameters, input):\n    {body}\n")
    code, out, _ = command("--implementation", "tested_nothing:mine")
    count = len(conformance.load())
    first, last = out.splitlines()
    assert code == 1 and f"and {count - 1} more: {words}" in first
    assert f"{count} differs" in last


def test_a_module_that_exits_fails_in_one_line(command, module):
    module("tested_exit", "import sys\nsys.exit(0)\n")
    code, out, err = command("--implementation", "tested_exit:mine")
    assert code == 1 and out == "" and err.count("\n") == 1
    assert "cannot be imported: SystemExit: 0" in err


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nowhere_at_all:mine", "'nowhere_at_all:mine' cannot be imported"),
        ("json:nope", "'json:nope' cannot be imported"),
        ("json", "'json' is not module:function"),
    ],
)
def test_a_reference_to_nothing_fails_in_one_line(command, reference, words):
    code, out, err = command("--implementation", reference)
    assert code == 1 and out == ""
    assert err.startswith("qstudy: ") and words in err and err.count("\n") == 1
