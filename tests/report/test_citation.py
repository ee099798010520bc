"""Pages and numbers are cited as CITATION.cff says."""

from datetime import date

import pytest
import yaml
from pybtex.database import parse_string

from qstudy.report import citation
from qstudy.study.tree import repository


@pytest.fixture
def cited():
    return citation.load(repository() / "CITATION.cff")


def test_the_file_is_read_as_it_stands(cited):
    fields = yaml.safe_load((repository() / "CITATION.cff").read_text())
    assert cited.version == fields["version"] and cited.title == fields["title"]
    assert cited.authors == tuple(a["name"] for a in fields["authors"])
    assert cited.released == date.fromisoformat(fields["date-released"])


def test_bibtex_is_read_by_a_bibtex_parser(cited):
    parsed = parse_string(cited.bibtex("Static quantization", slug="static"), "bibtex")
    ((key, entry),) = parsed.entries.items()
    assert key == f"qstudy-{cited.version}-static"
    assert entry.fields["title"] == "Static quantization"
    assert cited.title in entry.fields["howpublished"]
    # An organization: one name, not given and family names.
    (author,) = entry.persons["author"]
    assert author.last_names == [f"{{{cited.authors[0]}}}"]


def test_a_page_stands_before_the_study(cited):
    assert cited.text().count(". ") == 1
    assert f"). A page. In: {cited.title} (version" in cited.text("A page")


def test_people_are_named_given_name_first(tmp_path):
    path = tmp_path / "CITATION.cff"
    people = "- {given-names: Ada, family-names: Lovelace}\n- name: A group"
    path.write_text(
        f"authors:\n{people}\ntitle: T\nversion: 1\ndate-released: 2026-01-02\n"
    )
    assert citation.load(path).authors == ("Ada Lovelace", "A group")
    path.write_text("title: T\n")
    with pytest.raises(ValueError, match="lacks 'authors'"):
        citation.load(path)
    with pytest.raises(FileNotFoundError, match="restore it with git"):
        citation.load(tmp_path / "none.cff")
