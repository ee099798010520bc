"""requirements.lock: exact pins, the whole closure of pyproject, nothing else."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.repo.checkout import text

PROJECT = tomllib.loads(text("pyproject.toml"))["project"]
LINES = text("requirements.lock").splitlines()
PINS = {canonicalize_name(n): v for n, v in (line.split("==") for line in LINES)}
WANTED = [
    *PROJECT["dependencies"],
    # "cluster" is for those who have one; it is in nobody's lock.
    *(
        r
        for name, extra in PROJECT["optional-dependencies"].items()
        for r in extra
        if name != "cluster"
    ),
]
# What only PyTorch's CUDA builds ask for; the lock is the CPU's.
CUDA = re.compile(r"(nvidia|cuda|triton)(-|$)")


def test_every_line_is_an_exact_public_version():
    assert [n for n in LINES if not re.fullmatch(r"[\w.-]+==\d[\w.]*", n)] == []
    assert len(PINS) == len(LINES), "a package is pinned twice"


def test_torch_comes_first_and_the_rest_is_sorted():
    names = [line.split("==")[0] for line in LINES]
    assert names[:2] == ["torch", "torchvision"]
    assert names[2:] == sorted(names[2:], key=str.lower)


@pytest.mark.parametrize("wanted", WANTED)
def test_the_lock_satisfies_pyproject(wanted):
    requirement = Requirement(wanted)
    assert PINS[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_lock_can_build_the_package():
    build = tomllib.loads(text("pyproject.toml"))["build-system"]["requires"]
    for requirement in map(Requirement, build):
        assert PINS[canonicalize_name(requirement.name)] in requirement.specifier


def needs(name: str, extras: set[str]) -> list[Requirement]:
    """What the installed package `name` asks for here, with these extras."""
    found = [Requirement(r) for r in requires(name) or []]
    return [
        r
        for r in found
        if not CUDA.match(r.name)
        and any(
            r.marker is None or r.marker.evaluate({"extra": extra})
            for extra in extras or {""}
        )
    ]


def test_the_lock_is_the_whole_closure_and_nothing_else():
    reached, unsatisfied = set(), []
    waiting = [Requirement(r) for r in WANTED]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if PINS.get(name, "none") not in requirement.specifier:
            unsatisfied.append(str(requirement))
        elif name not in reached or requirement.extras:
            reached.add(name)
            waiting += needs(name, requirement.extras)
    assert unsatisfied == []
    assert set(PINS) - reached == set()


def test_what_is_installed_is_what_is_locked():
    differing = {}
    for name, pinned in PINS.items():
        try:
            installed = Version(version(name)).public  # 2.13.0+cpu is 2.13.0
        except PackageNotFoundError:
            installed = "nothing"
        if installed != str(Version(pinned)):
            differing[name] = (pinned, installed)
    assert differing == {}, "run make install"
