"""The machine's description, from given and from this machine's sources."""

import json
import subprocess

import pytest
import torch

from qstudy.measure import system

X86 = """processor\t: 0
cpu family\t: 6
model\t\t: 143
model name\t: Some Xeon
flags\t\t: fpu avx2 avx512f amx_bf16 avx512_vnni amx_int8 avx512_bf16

processor\t: 1
model name\t: Another
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp bf16 i8mm\n"


def test_flags_and_class_of_given_processors(tmp_path):
    source = tmp_path / "cpuinfo"
    source.write_text(X86)
    fields = system.cpu_fields(source)
    assert fields["model name"] == "Some Xeon"
    flags = system.known_flags(fields, "x86-64")
    assert set(flags) == {
        *("avx2", "avx512f", "amx_bf16", "avx512_vnni", "amx_int8", "avx512_bf16")
    }
    assert system.isa_class("x86-64", flags, {}) == "x86-64 amx_int8"
    # bf16 flags come with VNNI on some processors and say nothing about int8.
    assert (
        system.isa_class("x86-64", ["avx512_bf16", "avx512_vnni", "avx2"], {})
        == "x86-64 avx512_vnni"
    )
    source.write_text(ARM)
    arm = system.known_flags(system.cpu_fields(source), "aarch64")
    assert system.isa_class("aarch64", arm, {}) == "aarch64 i8mm"


def test_a_system_without_cpuinfo_is_unknown_not_an_error(tmp_path):
    assert system.cpu_fields(tmp_path / "none") == {}
    assert system.known_flags({}, "x86-64") == []
    assert system.known_flags({"flags": "x"}, "riscv64") == []
    assert system.isa_class("riscv64", [], {}) == "riscv64 unknown"


def test_describe_is_json_and_its_id_covers_it(monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    machine = system.describe()
    assert json.loads(json.dumps(machine)) == machine
    assert machine == system.describe()
    assert len(machine["id"]) == 12 and int(machine["id"], 16) >= 0
    assert machine["label"].rpartition(",")[2].strip() == machine["isa_class"]
    assert machine["engines"] == system.engines() and "none" not in machine["engines"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    limited = system.describe()
    assert limited["id"] != machine["id"]
    assert limited["isa_class"].endswith(" ONEDNN_MAX_CPU_ISA=AVX2")


def test_check_engine_names_those_there_are():
    for engine in system.engines():
        system.check_engine(engine)
    with pytest.raises(ValueError, match="'cuda' is not one of") as caught:
        system.check_engine("cuda")
    assert all(engine in str(caught.value) for engine in system.engines())


def test_threads_are_put_back_even_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), system.threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="threads 0"), system.threads(0):
        pass


def test_versions_and_memory():
    versions = system.versions()
    assert set(versions) == {"python", "torch", "torchvision", "numpy"}
    assert versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    before = system.peak_memory_mib()
    block = bytearray(b"x") * (int(before) + 64) * 2**20
    assert system.peak_memory_mib() > before + 32
    del block


def test_commit_says_dirty_and_unknown(tmp_path, monkeypatch):
    package = tmp_path / "repository" / "qstudy"
    (package / "measure").mkdir(parents=True)
    (package / "spec.py").write_text("one\n")
    monkeypatch.setattr(system, "__file__", str(package / "measure" / "system.py"))
    # Nothing above the temporary folder may answer for it.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert system.commit() == "unknown"

    def git(*arguments):
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(
            ["git", *identity, *arguments],
            cwd=package.parent,
            check=True,
            capture_output=True,
        )

    git("init")
    assert system.commit() == "unknown"  # Inside a repository that tracks none of it.
    git("add", "qstudy/spec.py")
    git("commit", "-m", "one")
    clean = system.commit()
    assert len(clean) == 40
    (package.parent / "elsewhere").write_text("results come and go\n")
    assert system.commit() == clean
    (package / "spec.py").write_text("two\n")
    assert system.commit() == f"{clean}-dirty"
    monkeypatch.setenv("PATH", "")
    assert system.commit() == "unknown"
