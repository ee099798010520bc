"""The machine that a figure was measured on, and the few settings that change it.

Latency depends on all of it, int8 results on the instruction set: without VNNI the
fbgemm and x86 engines may saturate at 16 bits, with it they accumulate in 32.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from qstudy.spec import canonical_json

UNKNOWN = "unknown"
# Best first: the first one that a processor has names its ISA class.
FLAGS = {
    "x86-64": (
        "amx_int8",
        "amx_bf16",
        "avx512_bf16",
        "avx512_vnni",
        "avx_vnni",
        "avx512f",
        "avx2",
    ),
    "aarch64": ("sve2", "i8mm", "bf16", "asimddp", "asimd"),
}
# bf16 flags say nothing about int8 arithmetic, so they do not name a class.
_NO_CLASS = ("amx_bf16", "avx512_bf16", "bf16")
# Variables by which a user makes the libraries use less than the processor has.
OVERRIDES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_ARCHITECTURES = {"x86_64": "x86-64", "amd64": "x86-64", "arm64": "aarch64"}


def describe() -> dict[str, Any]:
    """The machine as plain JSON values.

    cpu (model name), cpu_signature (family and model, since clouds hide the name),
    cores (physical) and logical_cores, memory_gib (whole GiB), flags (of FLAGS),
    isa_class, cpu_capability (what torch dispatches to), engines, overrides (variables
    of OVERRIDES that are set) and os; `label`, one line for captions that ends in
    ", <isa_class>"; `id`, 12 hexadecimal digits of the SHA-256 of all the rest. What
    the system does not tell is "unknown".
    """
    import torch

    fields = cpu_fields()
    architecture = _architecture()
    overrides = {name: os.environ[name] for name in OVERRIDES if name in os.environ}
    capability = torch.backends.cpu.get_cpu_capability()
    flags = known_flags(fields, architecture)
    machine: dict[str, Any] = {
        "cpu": fields.get("model name") or platform.processor() or UNKNOWN,
        "cpu_signature": _signature(fields),
        "cores": psutil.cpu_count(logical=False) or psutil.cpu_count() or UNKNOWN,
        "logical_cores": psutil.cpu_count() or UNKNOWN,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "flags": flags,
        "isa_class": isa_class(architecture, flags, overrides),
        "cpu_capability": capability,
        "engines": engines(),
        "overrides": overrides,
        "os": _os_name(),
    }
    machine["label"] = (
        f"{machine['cpu']} ({machine['cpu_signature']}), {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['isa_class']}"
    )
    machine["id"] = hashlib.sha256(canonical_json(machine).encode()).hexdigest()[:12]
    return machine


def cpu_fields(source: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """The first processor's fields of Linux's cpuinfo; none elsewhere."""
    try:
        first = source.read_text().split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def known_flags(fields: Mapping[str, str], architecture: str) -> list[str]:
    """Those of FLAGS that cpuinfo's fields name, in FLAGS' order."""
    # x86 kernels call the line "flags", ARM kernels "Features".
    found = set((fields.get("flags") or fields.get("Features") or "").split())
    return [flag for flag in FLAGS.get(architecture, ()) if flag in found]


def isa_class(architecture: str, flags: list[str], overrides: Mapping[str, str]) -> str:
    """For instance "x86-64 avx512_vnni": machines of one class give the same int8.

    Names the best integer extension, and every override, since it changes what runs.
    Holds no comma.
    """
    integer = [flag for flag in flags if flag not in _NO_CLASS]
    parts = [architecture, integer[0] if integer else UNKNOWN]
    parts += [f"{name}={value}" for name, value in sorted(overrides.items())]
    return " ".join(parts).replace(",", ";")


def engines() -> list[str]:
    """The quantized engines that this torch can use here, sorted, without "none"."""
    import torch

    return sorted(set(torch.backends.quantized.supported_engines) - {"none"})


def check_engine(name: str) -> None:
    """ValueError, naming the engines that the machine has, unless `name` is one."""
    if name not in engines():
        raise ValueError(
            f"engine {name!r} is not one of {engines()}, which torch offers on this "
            "machine; choose one of them"
        )


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set torch's threads within an operation, and put the former number back.

    ValueError unless count is at least 1.
    """
    import torch

    if count < 1:
        raise ValueError(f"threads {count} is not at least 1")
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def versions() -> dict[str, str]:
    """Versions of python, torch, torchvision and numpy."""
    packages = ("torch", "torchvision", "numpy")
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }


def commit() -> str:
    """The git commit of qstudy's source, 40 digits; "unknown" outside its repository.

    Ends in "-dirty" where files under qstudy/ differ from that commit.
    """
    package = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        answer = subprocess.run(
            ["git", "-C", str(package), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        return answer.stdout.strip()

    try:
        # An installed copy may lie inside another project's repository: then git does
        # not track it, and that project's commit would say nothing about this code.
        git("ls-files", "--error-unmatch", "spec.py")
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return f"{head}-dirty" if changed else head


def peak_memory_mib() -> float:
    """The most resident memory so far, MiB: this process or its largest ended child.

    A maximum over the whole life of the process, not over one run.
    """
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB.
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(each).ru_maxrss for each in who) * unit / 2**20


def _architecture() -> str:
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine or UNKNOWN)


def _signature(fields: Mapping[str, str]) -> str:
    if "cpu family" not in fields:
        return UNKNOWN
    return f"family {fields['cpu family']} model {fields.get('model', UNKNOWN)}"


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system() or UNKNOWN
