"""The book and a chapter where everything around them is odd, at once.

A checkout at a path of brackets, braces, blanks and Korean, read-only, owned by another
user; no right to write but in the work tree; umask 077; no loopback interface; a home
with IPython startup files, a matplotlibrc, and a kernel "python3" that does not run.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from qstudy.experiments import static
from qstudy.study import notebooks
from qstudy.study.tree import repository
from tests.surroundings import places


@pytest.fixture(scope="module")
def user():
    """(checkout, work, environment, prefix) of the hostile user."""
    # pytest's own folders are closed to other users.
    root = Path(tempfile.mkdtemp(prefix="surroundings-"))
    root.chmod(0o755)
    (root / "probe").mkdir()
    prefix, user_id = places.unprivileged(root / "probe")
    try:
        checkout = places.checkout(root / places.ODD_NAME)
        env = places.home(root / "home of [2] {y} 한국")
        work = root / "home of [2] {y} 한국" / "work {z}"
        env |= {"PYTHONPATH": os.fspath(checkout), "QSTUDY_WORK": os.fspath(work)}
        for path in (root / "home of [2] {y} 한국", *root.glob("home*/**/*")):
            if user_id != os.getuid():
                os.chown(path, user_id, user_id)
        places.close(checkout)
        yield checkout, work, env, prefix
        places.open_again(checkout)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_the_book_is_built_and_says_little(user):
    checkout, work, env, prefix = user
    before = {p for p in checkout.rglob("*")}
    done = places.python("-m", "qstudy", "book", cwd=checkout, env=env, prefix=prefix)
    assert done.returncode == 0, done.stderr[-3000:]
    told = done.stderr.splitlines()
    assert len(told) == len(notebooks.chapters()) + 1
    assert all(line.startswith("book: ") for line in told)
    # As root, without a way to be another user, the checkout can be written after all.
    closed = prefix or os.getuid() != 0
    folder = work if closed else checkout
    front = folder / "_build" / "html" / "index.html"
    assert done.stdout == f"the book is at {front}\n"
    assert front.exists()
    pages = {p.stem for p in (front.parent / "chapters").glob("*.html")}
    assert {Path(p).name for p in notebooks.pages(repository())} <= pages
    for page in (front.parent / "chapters").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert os.fspath(checkout) not in text and env["HOME"] not in text, page.name
        assert "a startup file speaks" not in text, page.name
    if folder == work:
        assert {p for p in checkout.rglob("*")} == before


def test_a_chapter_is_computed(user):
    checkout, work, env, prefix = user
    call = ("-m", "qstudy", "run", "--mode", "smoke", "--experiment", "static")
    done = places.python(*call, cwd=checkout, env=env, prefix=prefix)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Warning" not in done.stderr and "security" not in done.stderr
    runs = work / "smoke" / "runs"
    assert len(list(runs.glob("static/*.json"))) == len(static.grid("smoke"))
    assert os.stat(runs).st_mode & 0o077 == 0


def test_papermill_itself_is_not_stopped_by_a_startup_file(user, tmp_path):
    """Here the kernel is the user's own, with all that the user's profile does."""
    checkout, _, env, _ = user
    own = {k: v for k, v in env.items() if k not in ("JUPYTER_PATH", "TMPDIR")}
    own |= {"JUPYTER_RUNTIME_DIR": os.fspath(tmp_path / "r")}
    own |= {"IPYTHONDIR": os.fspath(Path(env["HOME"]) / ".ipython")}
    # The kernels of this very environment come first.
    own |= {"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONWARNINGS": "ignore"}
    chapter = checkout / "chapters" / "introduction.ipynb"
    escaped = os.fspath(chapter).replace("{", "{{").replace("}", "}}")
    call = ["-m", "papermill", escaped, os.fspath(tmp_path / "out.ipynb")]
    done = places.python(*call, cwd=tmp_path, env=own)
    assert done.returncode == 0, done.stderr[-2000:]
    done = places.python(*call, "-p", "sed", "1", cwd=tmp_path, env=own)
    assert done.returncode != 0
    assert "ValueError: parameter 'sed' is not one of ('mode'" in done.stderr


def test_a_symlinked_checkout_is_the_checkout_itself(user, tmp_path):
    checkout, _, env, _ = user
    (tmp_path / "link").symlink_to(checkout)
    own = {k: v for k, v in env.items() if k != "QSTUDY_WORK"}
    own |= {"PYTHONPATH": os.fspath(tmp_path / "link")}
    script = "from qstudy.study import tree; print(tree.work_root(), tree.repository())"
    done = places.python("-c", script, cwd=tmp_path / "link", env=own)
    assert done.stdout == f"{checkout / 'work'} {checkout}\n"
