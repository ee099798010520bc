"""What a chapter calls: check its parameters, compute what is missing, show results.

In read mode a chapter shows files of a results tree and imports no torch. In the other
modes the runs that the chapter needs and the work tree lacks are computed first, with a
progress bar, and kept; a second execution costs seconds.
"""

from __future__ import annotations

import ast
import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

from qstudy.report import figures, listing, numbers, tables
from qstudy.report.absent import Absent, AbsentFrame
from qstudy.spec import MODES, canonical_json
from qstudy.study.tree import StudyError, results_root, work_root

# What every generator of random numbers takes, and a run's own seed added to it.
LARGEST_SEED = 2**31 - 1
# The first line of the cell in which papermill puts what it was asked to pass.
_INJECTED = "# Parameters"
_LEFT_OUT = "needs runs that mode '{}' leaves out."
_COMMON: dict[str, Any] = {"mode": "read", "seed": 0, "results": ""}


@dataclass(frozen=True)
class Chapter:
    """One results tree, as a chapter sees it."""

    name: str
    mode: str
    tree: Path
    # Whether the tree must hold all that the chapter shows. With a reader's own
    # parameters it holds what the mode computes, and nothing published completes it.
    whole: bool = True

    @cached_property
    def measured(self) -> bool:
        """Whether the tree has records of this chapter, by the numbers that it holds.

        What is missing from a tree without numbers is named as a missing file.
        """
        try:
            return numbers.measured(numbers.load(self.tree), self.name)
        except FileNotFoundError:
            return True

    def frame(self, table: str) -> pd.DataFrame | AbsentFrame:
        """The whole of a table, for instance "static.csv".

        Where the tree has no records of the chapter, or a mode with a reader's own
        parameters computes nothing of the table, an AbsentFrame.
        """
        path = self.tree / "tables" / table
        if not self.measured or (not self.whole and not path.exists()):
            return AbsentFrame()
        return tables.read_csv(path)

    def table(self, frame: pd.DataFrame | AbsentFrame, **options: Any) -> Any:
        """`frame` as a table of the page; options as in qstudy.report.tables.show.

        Where the mode computes none of its rows, or the tree has no records of the
        chapter, a line that says so.
        """
        if isinstance(frame, AbsentFrame) and self.whole:
            return Absent(options["name"], self.name)
        if not self.whole and not len(frame):
            return f"Table {options['name']} {_LEFT_OUT.format(self.mode)}"
        return tables.show(frame, **options)

    def figure(self, name: str) -> Any:
        """A figure of the tree, with its alt text and caption.

        Where the mode does not compute what it shows, or the tree has no records of
        the chapter, a line that says so.
        """
        if not self.measured:
            return Absent(f"fig-{name.replace('_', '-')}", self.name)
        folder = self.tree / "figures"
        if not self.whole and not (folder / f"{name}.svg").exists():
            return f"Figure {name} {_LEFT_OUT.format(self.mode)}"
        return figures.show(folder, name)

    def photographs(self, folder: str) -> Any:
        """EfficientNet-Lite0 on a reader's own images, in fp32 and int8; None for "".

        `folder` has a folder a class (qstudy.data.imagefolder). What is found is kept
        in the work tree, not as a record: no published number comes from it.
        """
        if not folder:
            return None
        from tqdm import tqdm

        from qstudy.study import imagenet  # imports torch, which read mode does not

        scoring = partial(tqdm, desc="  scoring", file=sys.stderr)
        return imagenet.kept(folder, work_root() / "photographs", progress=scoring)

    def code(self, name: str) -> Any:
        """The lines of a function of the study; see qstudy.report.listing."""
        return listing.listing(name)

    def number(self, key: str, part: str = "full") -> str:
        """A quoted number as text, exactly as the book's prose prints it."""
        try:
            return numbers.format_number(
                numbers.look_up(numbers.load(self.tree), key), part
            )
        except ValueError as error:
            raise StudyError(f"{error} (results tree {self.tree})") from error


def chapter(name: str, namespace: Mapping[str, Any] | None = None) -> Chapter:
    """Open chapter `name` with the parameters found in `namespace` (its globals()).

    In a notebook these are the chapter's own parameters and whatever else the cell of
    parameters, or the one that papermill puts after it, assigns; nothing else that is
    there counts. Elsewhere `namespace` holds parameters alone. Parameters are `mode`
    ("read", "smoke", "quick" or "full"), `seed`, `results` (a results tree; "" is the
    repository's) and the chapter's own. Raises ValueError for an unknown name, mode or
    parameter, TypeError for a wrong type, and StudyError for a changed parameter where
    the mode computes nothing and for a folder that is none, each in one line.
    """
    from qstudy import experiments  # imports no torch; kept off `import qstudy`

    if not isinstance(namespace or {}, Mapping):
        raise TypeError(
            f"{namespace!r:.40} is a {type(namespace).__name__}: the globals() of a "
            "notebook, or parameters by name, are needed"
        )
    own = experiments.by_name(name).PARAMETERS
    given = _checked(namespace or {}, {**_COMMON, **own})
    mode = given["mode"]
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is not one of {MODES}")
    changed = {k: given[k] for k in ("seed", *own) if given[k] != {**_COMMON, **own}[k]}
    if mode == "read":
        if changed:
            raise ValueError(
                f"{changed} changes what is computed, and mode 'read' computes "
                "nothing: pass -p mode quick"
            )
        return Chapter(name=name, mode=mode, tree=results_root(given["results"]))
    # A text that is empty by default is a folder of the reader's: no run depends on it.
    folders = {k: v for k, v in changed.items() if own.get(k) == ""}
    for key, folder in folders.items():
        if not Path(folder).is_dir():
            raise StudyError(
                f"parameter {key} is {folder!r}, which is not a folder: name one that "
                "is there"
            )
        del changed[key]
    tree = _tree(mode, changed)
    _compute(name, mode, tree, changed, results_root(given["results"]))
    return Chapter(name=name, mode=mode, tree=tree, whole=not changed)


def _checked(namespace: Mapping[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    wanted = [key for key in namespace if not str(key).startswith("__")]
    if "In" in namespace:  # IPython's list of the cells executed so far
        wanted = [*known, *_assigned(namespace["In"])]
    given = {key: namespace[key] for key in wanted if key in namespace}
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"parameter {key!r} is not one of {tuple(known)}")
        # bool is an int to isinstance, and seed=True is surely a mistake.
        if type(value) is not type(known[key]):
            raise TypeError(
                f"parameter {key} is {value!r}, a {type(value).__name__}: "
                f"{type(known[key]).__name__} is needed"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"parameter {key} is {value!r}: a finite number is needed")
    if not 0 <= given.get("seed", 0) <= LARGEST_SEED:
        raise ValueError(
            f"parameter seed is {given['seed']}, outside 0 to {LARGEST_SEED}"
        )
    return {**known, **given}


def _assigned(cells: Sequence[str]) -> list[str]:
    """The names that the parameters cell before the last cell assigns.

    The last is the cell that calls `chapter`. Right before it stands the parameters
    cell, known by its `mode`, or papermill's cell and then that one.
    """
    names: list[str] = []
    for source in reversed(cells[-3:-1]):
        here = _targets(source)
        if not (source.startswith(_INJECTED) or "mode" in here):
            break
        names += here
        if not source.startswith(_INJECTED):
            break
    return names


def _targets(source: str) -> list[str]:
    """The names that the top level of a cell assigns; none where it is no Python."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return []
    targets = [t for node in body if isinstance(node, ast.Assign) for t in node.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _tree(mode: str, changed: dict[str, Any]) -> Path:
    """Smoke runs and changed parameters never mix with the study's own records."""
    tree = work_root() / "smoke" if mode == "smoke" else work_root()
    if changed:
        short = hashlib.sha256(canonical_json(changed).encode()).hexdigest()[:8]
        tree = tree / "custom" / short
    return tree


def _compute(
    name: str, mode: str, tree: Path, changed: dict[str, Any], published: Path
) -> None:
    from qstudy import experiments
    from qstudy.study import collect, runner
    from qstudy.study.store import Store

    store, own = Store(tree), Store(_tree(mode, {}))
    specs = []
    for spec in experiments.grid(name, mode):
        mine = runner.with_parameters(spec, changed)
        specs.append(mine)
        # A run that the changed parameter does not touch need not be repeated.
        done = own.read(mine) if changed and store.read(mine) is None else None
        if done is not None:
            store.take_over(done, own)
    if changed and not specs:
        raise StudyError(
            f"mode {mode!r} computes nothing in chapter {name!r}, so {changed} would "
            "change nothing: pass -p mode full, or smoke for generated data"
        )
    runner.run_missing(specs, work=store, results=Store(published))
    complete = mode != "smoke" and not changed
    collect.refresh(tree, published=published if complete else None)
