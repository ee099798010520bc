"""A book of other results says which verdicts moved."""

from qstudy.report import verdicts
from qstudy.spec import Number


def claims(**values):
    known = {f"toy.claim.{name}": Number(value) for name, value in values.items()}
    return {**known, "toy.net.drop": Number(0.3)}


def test_each_verdict_that_moved_is_told_with_both_sides():
    here = claims(size="holds", speed="fails", accuracy="holds")
    published = claims(size="holds", speed="holds, above 4", accuracy="holds")
    first, second = verdicts.told(here, published)
    assert "2 of 3 verdicts are those of the published results" in first
    assert second == "toy.claim.speed: now fails; published: holds, above 4."


def test_equal_verdicts_are_told_in_one_sentence():
    (line,) = verdicts.told(claims(size="holds"), claims(size="holds"))
    assert "1 of 1 verdicts are those" in line


def test_a_verdict_that_is_missing_is_no_agreement():
    first, second = verdicts.told(claims(), claims(size="holds"))
    assert "0 of 1 verdicts" in first
    assert second == "1 verdicts are missing here."


def test_other_numbers_are_no_verdicts():
    here = {**claims(), "toy.net.drop": Number(9.0)}
    assert verdicts.changes(here, claims()) == []
