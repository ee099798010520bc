"""Records as a run would leave them, for tests of tables."""

from qstudy.spec import RunRecord


def record(spec, values):
    """The record of `spec` that holds `values` and their arrays."""
    return RunRecord(
        spec=spec,
        values=values.values,
        arrays=values.arrays,
        inputs={},
        artifacts={},
        seconds=1.0,
        peak_mib=1.0,
        versions={},
        commit="0" * 40,
        system="0" * 12,
        origin="regenerated",
        machine="machine, x86-64",
    )
