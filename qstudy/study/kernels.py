"""The kernels that the study starts: its own interpreter, nobody's settings.

A kernel found by the name "python3" may be another environment's, listens on TCP (open
to the machine, and closed where the loopback interface is), and runs what the user's
IPython profile holds. The study's kernels take none of that.
"""

from __future__ import annotations

import os
import shutil
import sys
import weakref

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from traitlets import default

from qstudy.study.tree import short_folder


class OwnKernel(AsyncKernelManager):
    """A kernel of this very interpreter, spoken to through sockets in a private folder.

    Hand the class to nbclient or papermill as `kernel_manager_class`.
    """

    _folder = ""

    @property
    def folder(self) -> str:
        """Made on first use, gone with the manager; its path fits a socket's name."""
        if not self._folder:
            self._folder = short_folder()
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    @default("transport")
    def _transport(self) -> str:
        return "ipc"

    @default("connection_file")
    def _connection_file(self) -> str:
        return os.path.join(self.folder, "k.json")

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(
            argv=[
                *(sys.executable, "-m", "ipykernel_launcher", "-f"),
                "{connection_file}",
                # Of the kernel's own log only errors; its cells' output is not touched.
                "--log-level=ERROR",
                "--IPKernelApp.exec_PYTHONSTARTUP=False",
            ],
            # An empty profile: no startup files, no settings, no history.
            env={"IPYTHONDIR": self.folder, "JUPYTER_RUNTIME_DIR": self.folder},
            display_name="qstudy",
            language="python",
        )
