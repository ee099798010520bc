"""CITATION.cff is valid and agrees with the package."""

import tomllib
from datetime import date

import yaml
from cffconvert import Citation

from tests.repo.checkout import text


def test_citation_is_valid_cff_1_2_0():
    citation = Citation(text("CITATION.cff"))
    citation.validate()
    assert citation.cffobj["cff-version"] == "1.2.0"


def test_citation_agrees_with_package_and_changelog():
    citation = yaml.safe_load(text("CITATION.cff"))
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert [a["name"] for a in citation["authors"]] == [
        a["name"] for a in project["authors"]
    ]
    released = date.fromisoformat(str(citation["date-released"]))
    assert f"## [{citation['version']}] - {released}" in text("CHANGELOG.md")


def test_package_tells_the_same_version():
    import qstudy

    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert qstudy.__version__ == project["version"]
