"""A change of a route is told from it, and made where it can be made."""

import pytest

from qstudy.methods.routes import changes, timed


def test_a_route_and_its_change_are_told_apart():
    assert changes.parts("int8:pt2e+cpp_wrapper") == ("int8:pt2e", "cpp_wrapper")
    assert changes.parts("int8:pt2e") == ("int8:pt2e", "")
    with pytest.raises(ValueError, match="change 'hurried' of int8:x86 is not one of"):
        changes.parts("int8:x86+hurried")


def test_what_a_process_reads_once_is_its_environment():
    assert changes.environment("int8:x86") == {}
    assert changes.environment("int8:pt2e+cpp_wrapper") == {}
    assert changes.environment("int8:x86+bound") == {"OMP_PROC_BIND": "true"}
    for change in changes.ENVIRONMENTS:
        assert changes.environment(f"int8:x86+{change}")


def test_the_compiler_s_settings_hold_while_a_network_is_built(monkeypatch):
    import torch._inductor.config as inductor

    seen = []

    class Made:
        example = "x"

    class Built:
        def forward(self, x):
            seen.append(("called", x, inductor.cpp_wrapper))

    def build(name, source):
        seen.append(("built", name, inductor.cpp_wrapper))
        return Built()

    monkeypatch.setattr(timed, "build", build)
    monkeypatch.setattr(timed, "_shared", lambda *_: Made())
    before = inductor.cpp_wrapper
    for name in ("int8:pt2e+cpp_wrapper", "int8:pt2e"):
        call = timed.timed_forward(name=name, network={}, shape=[1], folder="", batch=1)
        call()
    changed, plain = seen[:3], seen[3:]
    assert changed == [
        ("built", "int8:pt2e", True),
        ("called", "x", True),
        ("called", "x", before),
    ]
    assert plain == [
        ("built", "int8:pt2e", before),
        ("called", "x", before),
        ("called", "x", before),
    ]
