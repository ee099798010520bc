"""What may lie in the repository: small files, no traces of one machine."""

import re

import pytest

from tests.repo.checkout import ROOT, files

MIB = 2**20
# Spelled in parts, so that this file passes its own test.
HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("debian", "org"),
        ("anaconda", "org"),
    )
]
MACHINE_PATH = re.compile(r"(?<![\w.~$}:>])/(root|home|Users|work)/[\w.]")


def texts():
    for path in files():
        content = (ROOT / path).read_bytes()
        if b"\0" not in content:
            yield path, content.decode("utf-8")


def test_no_file_is_larger_than_16_mib():
    large = {p: (ROOT / p).stat().st_size / MIB for p in files()}
    assert {p: size for p, size in large.items() if size > 16} == {}


def test_results_stay_below_90_mb():
    sizes = [(ROOT / p).stat().st_size for p in files() if p.parts[0] == "results"]
    assert sum(sizes) < 90e6


def test_no_file_names_a_host_of_a_package_registry():
    found = [(p, host) for p, text in texts() for host in HOSTS if host in text]
    assert found == []


def test_no_file_names_a_path_of_a_machine():
    found = [(p, m.group()) for p, t in texts() for m in MACHINE_PATH.finditer(t)]
    found += [(p, str(ROOT)) for p, text in texts() if f"{ROOT}/" in text]
    assert found == []


@pytest.mark.parametrize(
    ("line", "hit"),
    [
        ("open('/ro" + "ot/x.npy')", True),
        ("see /ho" + "me/me/study", True),
        ("results/work/runs", False),
        ("https://example.com/work/runs", False),
        ("<repository>/work/runs and work/", False),
    ],
)
def test_the_pattern_of_machine_paths_tells_them_apart(line, hit):
    assert bool(MACHINE_PATH.search(line)) == hit


def test_licences_are_the_named_ones():
    mit = (ROOT / "LICENSE").read_text()
    assert mit.startswith("MIT License\n\nCopyright (c) 2026 The qstudy authors\n")
    text = (ROOT / "LICENSE-TEXT").read_text()
    assert text.startswith("Creative Commons Attribution 4.0 International (CC BY 4.0)")
    assert "https://creativecommons.org/licenses/by/4.0/legalcode" in text
