"""What archives read about the study follows from CITATION.cff."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.checkout import ROOT, text


@pytest.mark.parametrize(
    ("form", "name"), [("zenodo", ".zenodo.json"), ("codemeta", "codemeta.json")]
)
def test_metadata_is_what_cffconvert_makes_of_the_citation(form, name):
    program = os.fspath(Path(sys.executable).with_name("cffconvert"))
    done = subprocess.run(
        [program, "-f", form, "-i", os.fspath(ROOT / "CITATION.cff")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert text(name) == done.stdout, (
        f"write it anew: cffconvert -f {form} -i CITATION.cff -o {name}"
    )
    assert json.loads(text(name))["version"]
