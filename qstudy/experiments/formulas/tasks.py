"""What the formulas chapter measures, by the name of the task."""

from __future__ import annotations

from qstudy.experiments.formulas.tasks_errors import (
    conformance_task,
    conventions_task,
    cost_task,
    errors_task,
)
from qstudy.experiments.formulas.tasks_integer import (
    executor_task,
    operators_task,
    overflow_task,
)
from qstudy.spec import Context, RunSpec, Values


def run(spec: RunSpec, ctx: Context) -> Values:
    """Do the task that `spec` names."""
    from qstudy.measure import system

    tasks = {
        "conventions": conventions_task,
        "operators": operators_task,
        "overflow": overflow_task,
        "executor": executor_task,
        "errors": errors_task,
        "calibrator_cost": cost_task,
        "conformance": conformance_task,
    }
    task = spec.params["task"]
    if task not in tasks:
        raise ValueError(f"task {task!r} is not one of {tuple(tasks)}")
    with system.threads(spec.params["threads"]):
        return tasks[task](spec, ctx)
