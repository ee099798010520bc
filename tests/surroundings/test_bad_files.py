"""Files of a results tree that are not what they should be: one line names the file."""

import json

import pytest

from qstudy.report import figures, numbers, tables
from qstudy.spec import Value
from qstudy.study.collect import collect
from qstudy.study.store import Store
from qstudy.study.tree import StudyError
from tests.study import toy

SHA = "0" * 64


def one_line(error, *names):
    told = str(error.value)
    assert "\n" not in told and len(told) < 1000
    for name in names:
        assert name in told, told


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A tree of toy runs, made once; tests damage a record and put it back."""
    from qstudy import experiments
    from qstudy.study import runner

    root = tmp_path_factory.mktemp("tree")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments, "ALL", (toy,))
        patch.setattr(experiments, "NAMES", ("toy",))
        store = Store(root)
        runner.run_missing(toy.grid("full"), work=store, results=store)
        collect(root)
        yield store


@pytest.fixture
def damaged(published):
    """Change the third record through a function of its JSON; undone afterwards."""
    path = published.path(toy.grid("full")[2])
    before = path.read_bytes()

    def change(how):
        record = json.loads(before)
        how(record)
        path.write_text(json.dumps(record))
        return published, path

    yield change
    path.write_bytes(before)


def set_value(name, **fields):
    return lambda r: r["values"][name].update(fields)


def set_field(name, content):
    return lambda r: r.__setitem__(name, content)


def drop(name):
    return lambda r: r.pop(name)


DAMAGES = {
    "text for a number": (set_value("top1", value="ninety"), "'ninety' is text"),
    "NaN": (
        set_value("top1", value=float("nan")),
        "value 'top1': value nan is not fin",
    ),
    "infinite": (set_value("ms", value=float("inf")), "inf is not finite"),
    "true": (set_value("count", value=True), "True is no number"),
    "none": (set_value("top1", value=None), "value None is no number"),
    "a list": (set_value("top1", value=[1]), "value [1] is no number"),
    "above 100 %": (set_value("top1", value=101.0), "101.0 [%] is outside 0 to 100"),
    "below 0 %": (set_value("top1", value=-0.5), "-0.5 [%] is outside"),
    "negative time": (set_value("ms", value=-1.0), "-1.0 [ms] is outside"),
    "half a count": (set_value("count", value=2.5), "2.5 [count] is no whole number"),
    "unknown kind": (set_value("top1", kind="guess"), "kind 'guess' is not one of"),
    "unit no text": (set_value("top1", unit=3), "unit 3 is no text"),
    "another unit": (set_value("top1", unit="pp"), "'top1' is a number [pp] isa"),
    "another kind": (set_value("top1", kind="exact"), "elsewhere a number [%] isa"),
    "half an interval": (
        set_value("top1", low=1.0),
        "interval [1.0, None] has one end",
    ),
    "interval upside down": (set_value("ratio", low=3.0), "[3.0, 2.2] is upside down"),
    "text in interval": (set_value("ratio", low="1"), "low '1' is no number"),
    "negative tolerance": (set_value("top1", tolerance=-1), "tolerance -1 is negative"),
    "unknown field": (set_value("top1", colour="red"), "argument 'colour'"),
    "no unit": (lambda r: r["values"]["top1"].pop("unit"), "argument: 'unit'"),
    "value no mapping": (lambda r: r["values"].update(top1=3), "'top1': it is 3, not"),
    "no values": (set_field("values", {}), "it has no values"),
    "values a list": (set_field("values", []), "values is [], not names"),
    "values null": (set_field("values", None), "values is None, not names"),
    "artifacts null": (set_field("artifacts", None), "artifacts is None, not names"),
    "artifacts no sha": (
        set_field("artifacts", {"arrays": 3}),
        "'arrays' is 3, not te",
    ),
    "artifact elsewhere": (
        set_field("artifacts", {"checkpoint:../../x": SHA}),
        "artifact 'checkpoint:../../x'",
    ),
    "artifact cut sha": (
        set_field("artifacts", {"arrays": "ab"}),
        "'ab' is no file na",
    ),
    "inputs null": (set_field("inputs", None), "inputs is None, not names"),
    "inputs numbers": (
        set_field("inputs", {"data:x/y": 1}),
        "'data:x/y' is 1, not tex",
    ),
    "versions null": (set_field("versions", None), "versions is None"),
    "seconds text": (set_field("seconds", "3"), "seconds '3' is no number"),
    "seconds negative": (set_field("seconds", -3), "seconds -3 is no number from 0 on"),
    "memory NaN": (set_field("peak_mib", float("nan")), "peak_mib nan is no number"),
    "commit number": (set_field("commit", 7), "commit 7 is no text"),
    "system elsewhere": (set_field("system", "../x"), "system '../x' is no id"),
    "system null": (set_field("system", None), "None"),
    "origin unknown": (set_field("origin", "dreamt"), "origin 'dreamt' is not one of"),
    "spec null": (set_field("spec", None), "spec is None, not names"),
    "spec without seed": (lambda r: r["spec"].update(seed=None), "seed None is no int"),
    "spec version text": (lambda r: r["spec"].update(version="1"), "version '1' is no"),
    "spec params list": (lambda r: r["spec"].update(params=[]), "params [] is no dict"),
    "no spec": (drop("spec"), "spec is None"),
    "no commit": (drop("commit"), "argument: 'commit'"),
    "more": (set_field("mood", "good"), "argument 'mood'"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_record_is_named_and_not_collected(damaged, name):
    how, words = DAMAGES[name]
    store, path = damaged(how)
    before = (store.root / "numbers.json").read_bytes()
    with pytest.raises(StudyError) as error:
        collect(store.root)
    one_line(error, str(path) if name != "system null" else store.root.name, words)
    assert (store.root / "numbers.json").read_bytes() == before


@pytest.mark.parametrize("content", ["null", "3", '"x"', "[" * 5000, "\xff\xfe", "{}"])
def test_a_record_that_is_something_else(damaged, content):
    store, path = damaged(lambda r: None)
    path.write_text(content, encoding="latin-1")
    with pytest.raises(StudyError, match="is damaged") as error:
        collect(store.root)
    one_line(error, str(path), "delete it and run the same command again")


def test_a_value_that_a_table_needs_and_no_record_has(damaged):
    store, path = damaged(lambda r: r["values"].pop("top1"))
    with pytest.raises(StudyError) as error:
        collect(store.root)
    one_line(error, str(path), "it has no value 'top1'")


@pytest.mark.parametrize("content", ["{", "[]", '{"label": 3}', "{}"])
def test_a_damaged_system_description(published, content):
    (path,) = (published.root / "systems").iterdir()
    before = path.read_bytes()
    try:
        path.write_text(content)
        with pytest.raises(StudyError) as error:
            published.records("toy", 1)
        one_line(error, str(path), "restore it with git")
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (("x", "%", "isa"), "'x' is text"),
        (("x", "count", "exact"), "needs a number"),
        ((float("nan"), "ms", "timing"), "not finite"),
        ((None, "", "exact"), "no number"),
        ((2.0, "code", "exact"), "no whole number"),
        ((1.0, "s", "never"), "kind 'never'"),
    ],
)
def test_a_run_cannot_give_such_a_value_either(fields, words):
    with pytest.raises(ValueError, match=words):
        Value(*fields)


GOOD = {"value": 1.5, "unit": "%", "runs": ["a"]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "Expecting value"),
        ('{"a.b.c": {"value": 1', "delimiter"),
        ("[1, 2]", "it holds [1, 2], not numbers by key"),
        ("null", "it holds None"),
        ("\x80", "is damaged"),
        (json.dumps({"a.b.c": 3}), "number 'a.b.c' is 3, not its fields"),
        (json.dumps({"a.b.c": {**GOOD, "value": None}}), "value None is no finite"),
        (json.dumps({"a.b.c": {**GOOD, "value": [1]}}), "value [1] is no finite"),
        (json.dumps({"a.b.c": {**GOOD, "value": float("nan")}}), "value nan is no"),
        (json.dumps({"a.b.c": {**GOOD, "low": "x"}}), "low 'x' is no finite"),
        (json.dumps({"a.b.c": {**GOOD, "colour": "x"}}), "argument 'colour'"),
        (json.dumps({"a.b.c": {"unit": "%"}}), "argument: 'value'"),
    ],
)
def test_a_damaged_numbers_json(tmp_path, content, words):
    (tmp_path / "numbers.json").write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=r"numbers\.json is damaged") as error:
        numbers.load(tmp_path)
    one_line(error, str(tmp_path), words, "makes it anew")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"<html>\n<body>no table</body></html>\n",
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"a,b\n1,2,3\n4,5,6\n",
        b"a,b\n1,2\n1,2,3,4\n",
        b'a,b\n1,"2\n',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    ],
    ids=["empty", "blank", "html", "png", "long rows", "one long", "quote", "lfs"],
)
def test_a_csv_that_is_none(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match="is no table") as error:
        tables.read_csv(tmp_path / "t.csv")
    one_line(error, str(tmp_path / "t.csv"), "'qstudy collect'")


@pytest.mark.parametrize(
    ("svg", "words"),
    [
        ("<svg></svg>", "{"),
        ("<svg></svg>", "[]"),
        ("<svg></svg>", '{"alt": "a"}'),
        ("<svg></svg>", '{"alt": null, "caption": "c"}'),
        ("<svg></svg>", '{"alt": " ", "caption": "c"}'),
        ("<svg><path d=", '{"alt": "a", "caption": "c"}'),
        ("", '{"alt": "a", "caption": "c"}'),
    ],
)
def test_a_damaged_figure(tmp_path, svg, words):
    (tmp_path / "f.svg").write_text(svg)
    (tmp_path / "f.json").write_text(words)
    with pytest.raises(ValueError, match="is damaged") as error:
        figures.show(tmp_path, "f")
    one_line(error, str(tmp_path / "f"), "'qstudy collect'")
