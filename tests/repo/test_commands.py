"""README's commands are the ones that make offers and that CI runs."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from tests.repo.checkout import ROOT, text

TARGETS = {"help", "install", "study", "test", "book", "pdf", "full", "verify", "clean"}
FILES = ("Makefile", "requirements.lock", "pyproject.toml")


def shell_lines(markdown: str) -> list[str]:
    """The commands in the fenced sh blocks of a page."""
    blocks = re.findall(r"```sh\n(.*?)```", markdown, flags=re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line]


def make_calls(markdown: str) -> set[str]:
    """The targets that a page calls, in a block or in a code span."""
    spans = re.findall(r"`make ([a-z]+)[^`]*`", markdown)
    calls = [line.split() for line in shell_lines(markdown)]
    return set(spans) | {words[1] for words in calls if words[0] == "make"}


@pytest.fixture
def copy(tmp_path):
    """A folder that has what make needs and nothing else."""
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.fixture
def installed(copy):
    """The same, with an environment that make takes for up to date."""
    stamp = copy / ".venv" / ".installed"
    stamp.parent.mkdir()
    stamp.touch()
    return copy


def make(folder, *words):
    """Run make in `folder`, free of the variables of a make that runs these tests."""
    ours = ("MAKE", "MFLAGS", "PYTHON", "TORCH_INDEX")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return subprocess.run(
        ["make", *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_alone_lists_every_target(installed):
    phony = re.search(r"^\.PHONY: (.*)$", text("Makefile"), re.MULTILINE).group(1)
    assert set(phony.split()) == TARGETS
    listed = make(installed)
    assert listed.returncode == 0
    assert {line.split()[1] for line in listed.stdout.splitlines()} == TARGETS
    assert listed.stdout == make(installed, "help").stdout


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("study", ".venv/bin/qstudy study"),
        ("test", ".venv/bin/python -m pytest"),
        ("book", ".venv/bin/qstudy book"),
        ("pdf", ".venv/bin/qstudy pdf"),
        ("full", ".venv/bin/qstudy run --mode full"),
        ("verify", ".venv/bin/qstudy verify results work"),
    ],
)
def test_target_runs_its_one_command(installed, target, command):
    assert make(installed, "-n", target).stdout.splitlines() == [command]


def test_a_changed_lock_is_installed_again(installed):
    assert "pip" not in make(installed, "-n", "test").stdout
    os.utime(installed / "requirements.lock", (2e9, 2e9))
    assert (
        "install --no-deps -r requirements.lock" in make(installed, "-n", "test").stdout
    )


def test_torch_comes_from_the_index_that_is_named(copy):
    def torch_line(*words):
        lines = make(copy, "-n", "install", *words).stdout.replace("\\\n", " ")
        return next(line for line in lines.splitlines() if "install torch==" in line)

    named = torch_line("TORCH_INDEX=https://example.com/cpu")
    assert "--no-deps --index-url https://example.com/cpu" in named
    assert "--index-url" not in torch_line()


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("no-such-python", "qstudy: no no-such-python here; install Python 3.11"),
        ("./old", "qstudy: Python 3.10.1 is too old; Python 3.11 or newer is needed"),
    ],
)
def test_a_wrong_python_is_told_in_one_line(copy, python, message):
    script = '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.10.1 && exit 0\nexit 1\n'
    (copy / "old").write_text(script)
    (copy / "old").chmod(0o755)
    done = make(copy, "install", f"PYTHON={python}")
    assert done.returncode != 0
    first, second = done.stderr.splitlines()
    assert first.startswith(message)
    assert second.startswith("make: ***")
    assert not (copy / ".venv").exists()


def test_clean_keeps_work_and_the_environment(installed):
    for name in ("work/runs", "results", "_build/html", "qstudy", "tests", "chapters"):
        (installed / name).mkdir(parents=True)
    (installed / "qstudy" / "__pycache__").mkdir()
    assert make(installed, "clean").returncode == 0
    left = {p.name for p in installed.iterdir()}
    assert {"work", "results", ".venv", "qstudy"} <= left
    assert "_build" not in left
    assert (installed / "work" / "runs").is_dir()
    assert not (installed / "qstudy" / "__pycache__").exists()


def test_readme_gives_the_two_commands():
    calls = [
        line for line in shell_lines(text("README.md")) if line.startswith("make ")
    ]
    assert [line.split()[1] for line in calls] == ["study", "test"]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "chapters/rerun.md"])
def test_pages_call_targets_that_exist(page):
    assert make_calls(text(page)) <= TARGETS


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_pages_call_commands_of_qstudy_that_exist(page):
    from qstudy.study.cli import app

    commands = {c.name or c.callback.__name__ for c in app.registered_commands}
    called = set(re.findall(r"\.venv/bin/qstudy ([a-z]+)", text(page)))
    assert called
    assert called <= commands


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "qstudy/README.md"])
def test_pages_name_files_that_exist(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text(page))
    spans = re.findall(r"`((?:chapters|qstudy|tests)/[\w./-]+)`", text(page))
    missing = [n for n in [*links, *spans] if not (ROOT / n.strip()).exists()]
    assert missing == []


def test_every_number_marker_of_readme_is_closed():
    readme = text("README.md")
    marked = re.findall(r"<!-- q:([\w.:]+) -->.*?<!-- /q -->", readme, re.DOTALL)
    assert len(marked) == readme.count("<!-- q:") == readme.count("<!-- /q -->") > 0
    assert all(len(key.split(".")) >= 3 for key in marked)


def test_public_ci_runs_readmes_commands_with_readmes_index():
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    jobs = workflow["jobs"].values()
    steps = [step for job in jobs for step in job["steps"]]
    runs = {step["run"] for step in steps if "run" in step}
    assert {"make study", "make test"} <= runs
    pythons = {s["with"]["python-version"] for s in steps if "setup-python" in str(s)}
    assert pythons == {"3.11"}
    indexes = set(re.findall(r"TORCH_INDEX=(https\S+)", text("README.md")))
    assert indexes == {workflow["env"]["TORCH_INDEX"]}


@pytest.fixture
def run_ci(tmp_path):
    """Runs .ci/run with these programs, as shell scripts, and no others."""
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name))

    def run(**programs):
        for name, script in {"make": "exit 0", **programs}.items():
            path = tmp_path / name.replace("_", "-")
            path.write_text(f'#!/bin/sh\necho "{path.name} $*"\n{script}\n')
            path.chmod(0o755)
        return subprocess.run(
            [tmp_path / "bash", ROOT / ".ci" / "run"],
            env={"PATH": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_ci_installs_a_browser_and_runs_the_test_command(run_ci):
    done = run_ci(apt_get="exit 0")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "apt-get -q update"
    assert lines[1].startswith("apt-get -q -y install")
    assert lines[1].endswith(" chromium")
    assert lines[-1] == "make test"


def test_ci_takes_the_browser_that_is_there(run_ci):
    done = run_ci(chromium="exit 0", apt_get="exit 1")
    assert "apt-get" not in done.stdout
    assert done.stdout.splitlines()[-1] == "make test"


@pytest.mark.parametrize("programs", [{}, {"apt_get": "exit 100"}])
def test_ci_without_a_browser_says_so_and_tests_all_the_same(run_ci, programs):
    done = run_ci(**programs)
    assert done.returncode == 0
    assert "will be skipped" in done.stdout
    assert done.stdout.splitlines()[-1] == "make test"


def test_ci_takes_the_snakemake_that_is_there(run_ci):
    done = run_ci(snakemake="exit 0", python3="exit 1")
    assert "snakemake --version is installed" in done.stdout
    assert "python3" not in done.stdout


def test_ci_without_snakemake_says_so_and_tests_all_the_same(run_ci):
    for programs in ({}, {"python3": "exit 1"}, {"python3": "", "timeout": "exit 124"}):
        done = run_ci(chromium="exit 0", **programs)
        assert done.returncode == 0
        assert "could not install Snakemake" in done.stdout
        assert done.stdout.splitlines()[-1] == "make test"


def test_ci_installs_snakemake_apart_from_the_studys_packages(run_ci):
    done = run_ci(chromium="exit 0", python3="", timeout="")
    made = re.search(r"^python3 -m venv (\S+)$", done.stdout, re.MULTILINE)[1]
    assert f"timeout 180 {made}/bin/pip " in done.stdout
    assert not made.endswith(".venv")
    assert done.stdout.splitlines()[-1] == "make test"


def test_ci_fails_when_the_tests_fail(run_ci):
    assert run_ci(chromium="exit 0", make="exit 2").returncode == 2
