"""What counts as a measured number in prose, and what a tidy notebook is."""

import nbformat
import pytest

from qstudy.report import lint


def found(text, allowed=()):
    return [
        finding.what.split("'")[1]
        for finding in lint.measured_numbers(text, where="t", allowed=allowed)
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It is 2.31 times faster.", "2.31"),
        ("A drop of 3 % is seen.", "3 %"),
        ("A drop of 3% is seen.", "3%"),
        ("A drop of 3 per cent.", "3 per cent"),
        ("int8 is **2×** as fast", "2×"),
        ("int8 is 2x as fast", "2x"),
        ("two runs, 4 times faster", "4 times"),
        ("12 ms a batch", "12 ms"),
        ("needs 300 MiB of memory", "300 MiB"),
        ("loses 2 points", "2 points"),
        ("| a |\n|---|\n| 5 ms |", "5 ms"),
        ("```{note}\n:class: tip\nIt takes 5 ms.\n```", "5 ms"),
        (":::{admonition} Faster by 5 %\nYes.\n:::", "5 %"),
        ("````{note}\n```{table} Up by 5 %\n| a |\n|---|\n```\n````", "5 %"),
        ("<p>It takes 5 ms.</p>", "5 ms"),
        ("# Twice, 1.9 to be exact", "1.9"),
        ("> quoted: 1,234.5", "1,234.5"),
    ],
)
def test_measured_numbers_are_found(text, number):
    assert found(text) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "ResNet-20 with int8 and 8 bits, batch 64, 10,000 images, 32 × 32 pixels",
        "the value {q}`a.b.c` and {q}`a.b:value`",
        "version `2.13.0`, and $0.5 x$ and\n\n$$\n1.5\n$$",
        "```bash\nsleep 0.5\n```",
        "```{code-block} python\nx = 0.5\n```",
        "[a page of 2.5](https://example.org/1.5) <https://example.org/2.5>",
        "ImageNet gives 76.1 % {cite}`wu2020`",
        "<!-- q:a.b -->2.31× [2.20, 2.42]<!-- /q -->",
        "<!-- 0.5 is a\ncomment of 5 ms -->",
        "---\nversion: 1.5\n---\n\n# Title",
        "```{figure} a.svg\n:width: 50.5%\n```",
        "arXiv:2004.09602v1",
    ],
)
def test_other_numbers_are_let_through(text):
    assert found(text) == []


def test_a_finding_names_its_line_across_hidden_parts():
    text = (
        "a\n<!-- q:k -->1.5\n<!-- /q -->\n\nb `x y` c\nd 0.5\n\n:::{note}\ne 5 ms\n:::"
    )
    where = [str(f).split(": ")[0] for f in lint.measured_numbers(text, where="t")]
    assert where == ["t:6", "t:9"]


def test_a_citation_excuses_its_own_line_only():
    assert found("0.5 {cite}`wu2020`\nand 0.7") == ["0.7"]


def test_allowed_phrases_need_a_reason(tmp_path):
    path = tmp_path / "allowed.txt"
    path.write_text("# why\n\n95 % interval :: a convention\n")
    allowed = lint.read_allowed(path)
    assert allowed == ("95 % interval",)
    assert found("its 95 % interval", allowed) == []
    assert found("its 95 % part", allowed) == ["95 %"]
    assert lint.read_allowed(tmp_path / "none.txt") == ()
    path.write_text("95 % interval ::\n")
    with pytest.raises(ValueError, match="PHRASE :: REASON"):
        lint.read_allowed(path)


def notebook(*, cell=None, **changes):
    made = nbformat.v4.new_notebook()
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    first = nbformat.v4.new_code_cell('mode = "read"')
    first.metadata["tags"] = ["parameters"]
    made.cells = [first, nbformat.v4.new_code_cell("x = 1")]
    made.cells[1].update(cell or {})
    made.update(changes)
    return made


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (notebook(cell={"execution_count": 3}), "has the execution count 3"),
        (
            notebook(cell={"outputs": [nbformat.v4.new_output("stream", text="x")]}),
            "has outputs",
        ),
        (notebook(cell={"source": "x = 1\n" * 16}), "has 16 lines, more than 15"),
        (notebook(cell={"source": "x" * 81}), "has 81 columns, more than 80"),
        (
            notebook(cell={"metadata": {"tags": ["parameters"]}}),
            "has 2 cells tagged parameters",
        ),
        (
            notebook(metadata={"kernelspec": {"name": "torch", "display_name": "T"}}),
            "names the kernel 'torch'",
        ),
    ],
)
def test_each_untidiness_of_a_notebook_is_named(tmp_path, made, what):
    path = tmp_path / "n.ipynb"
    nbformat.write(made, path)
    findings = lint.notebook_findings(path)
    assert len(findings) == 1 and what in str(findings[0])


def test_a_tidy_notebook_passes_and_a_broken_one_is_named(tmp_path):
    path = tmp_path / "n.ipynb"
    nbformat.write(notebook(), path)
    assert lint.notebook_findings(path) == []
    path.write_text(path.read_text().replace('"metadata"', '"matedata"', 1))
    assert "is no valid notebook" in str(lint.notebook_findings(path)[0])
    path.write_text("{")
    assert "is no valid notebook" in str(lint.notebook_findings(path)[0])


def test_the_command_prints_findings_and_tells_by_its_exit_code(tmp_path, capsys):
    chapters = tmp_path / "chapters"
    chapters.mkdir()
    (tmp_path / "README.md").write_text("Fine.\n")
    assert lint.main([str(tmp_path)]) == 0
    (tmp_path / "README.md").write_text("Takes 5 ms.\n")
    made = notebook()
    made.cells.append(nbformat.v4.new_markdown_cell("And 7 ms."))
    nbformat.write(made, chapters / "n.ipynb")
    (chapters / "broken.ipynb").write_text("{")
    assert lint.main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    for expected in ("README.md:1", "n.ipynb, cell 2:1", "broken.ipynb: is no valid"):
        assert expected in printed
