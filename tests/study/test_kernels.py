"""The kernels of the study: this interpreter, nobody's profile, short paths."""

import os
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from qstudy.study.kernels import OwnKernel
from qstudy.study.tree import StudyError, short_folder


def printed(*cells):
    """What the cells print in a kernel of the study."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    client = NotebookClient(
        notebook, kernel_name="python3", kernel_manager_class=OwnKernel, timeout=60
    )
    client.execute()
    return "".join(o.text for c in notebook.cells for o in c.outputs)


def test_a_kernel_takes_nothing_of_its_users_home(tmp_path, monkeypatch):
    startup = tmp_path / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("surprise = 1")
    (tmp_path / "rc.py").write_text("surprise = 2")
    foreign = tmp_path / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text(
        '{"argv": ["/bin/false"], "display_name": "no", "language": "python"}'
    )
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "rc.py"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / ("long" * 40)))
    told = printed(
        "import sys\nprint(sys.executable, 'surprise' in globals())",
        "from ipykernel import get_connection_info\n"
        "print(get_connection_info(unpack=True)['transport'])",
    )
    assert told == f"{sys.executable} False\nipc\n"


def test_its_sockets_have_short_paths_and_are_private_and_gone_at_the_end():
    kernel = OwnKernel(kernel_name="python3")
    assert kernel.transport == "ipc"
    assert len(f"{kernel.ip}-1") < 100
    assert os.stat(kernel.folder).st_mode & 0o077 == 0
    folder = kernel.folder
    del kernel
    assert not os.path.exists(folder)


@pytest.mark.parametrize("name", ["x" * 100, "with[1]", "with{x}"])
def test_a_temporary_folder_of_no_use_is_passed_over(tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / name))
    made = short_folder()
    os.rmdir(made)
    assert name not in made


def test_no_temporary_folder_at_all_is_one_line(monkeypatch):
    def refused(**options):
        raise PermissionError

    monkeypatch.setattr("tempfile.mkdtemp", refused)
    with pytest.raises(StudyError, match=r"set TMPDIR to one"):
        short_folder()
