"""The command `qstudy`: plan, run, collect, verify, publish, conformance, data, bench,
imagenet, doctor, study, book, pdf, cite, claims.

Every command ends with exit code 0 or with one line that says what is wrong and the way
out: 1 for an error, 2 for a wrong call, 130 for Ctrl-C (finished runs are kept).
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from qstudy import data, experiments
from qstudy.claims import entries
from qstudy.data import fetch
from qstudy.report import citation, numbers, provenance
from qstudy.spec import MODES, RunSpec
from qstudy.study import agreement, plan, progress, runner, verify, whole
from qstudy.study import book as book_pages
from qstudy.study import doctor as doctor_report
from qstudy.study.collect import collect as collect_tree
from qstudy.study.collect import rewrite_readme
from qstudy.study.pdf import print_book
from qstudy.study.publish import publish as publish_tree
from qstudy.study.runner import say
from qstudy.study.store import Store
from qstudy.study.tree import (
    StudyError,
    book_folder,
    repository,
    results_root,
    work_root,
)

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

Mode = Annotated[str, typer.Option(help=f"One of {', '.join(MODES[1:])}.")]
DataDir = Annotated[
    Path | None, typer.Option(help="A folder that holds the data (or QSTUDY_DATA).")
]


def _specs(mode: str, experiment: str | None = None) -> list[RunSpec]:
    """The runs of a mode, of one experiment or of all, in chapter order."""
    if mode not in MODES[1:]:
        raise ValueError(f"mode {mode!r} is not one of {MODES[1:]}")
    names = experiments.NAMES
    if experiment is not None:  # an empty one is a mistake, of a script maybe
        names = [experiments.by_name(experiment).NAME]
    return [spec for name in names for spec in experiments.grid(name, mode)]


def _stores(mode: str = "full") -> dict[str, Store]:
    work = work_root() / "smoke" if mode == "smoke" else work_root()
    return {"work": Store(work), "results": Store(results_root())}


def _use_data(folder: Path | None) -> None:
    """Refuse a folder that is not there at once, whether the runs read data or not."""
    fetch.named_folder(folder)
    if folder is not None:
        os.environ["QSTUDY_DATA"] = os.fspath(folder)


@app.command(name="plan", epilog="Example: qstudy plan --mode full")
def plan_command(
    mode: Mode = "full",
    experiment: Annotated[
        str | None, typer.Option(help="Only this experiment.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say which runs are missing and how long they take, from earlier records."""
    specs = _specs(mode, experiment)
    stores = _stores(mode)
    # The published runs say nothing of how long their tiny likenesses take.
    timed = (stores["work"],) if mode == "smoke" else tuple(stores.values())
    steps = plan.plan(specs, **stores, timed=timed)
    print(json.dumps(plan.as_json(steps)) if as_json else plan.as_text(steps, specs))


@app.command(epilog="Example: qstudy run --mode full --shard 1/2")
def run(
    mode: Mode = "quick",
    experiment: Annotated[
        str | None, typer.Option(help="Only this experiment.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Only the run with this key.")
    ] = None,
    shard: Annotated[str | None, typer.Option(help="Part i of n, as i/n.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Compute the missing runs of a mode into work/; a second call resumes."""
    _use_data(data_dir)
    specs = _specs(mode, experiment)
    if only is not None:
        specs = plan.matching(_specs("full") + _specs("quick") + specs, only)
    if shard is not None:
        specs = plan.part(specs, shard)
    runner.run_missing(specs, **_stores(mode))


@app.command(epilog="Example: qstudy collect --tree results")
def collect(
    tree: Annotated[Path | None, typer.Option(help="Default: results/.")] = None,
) -> None:
    """Rewrite tables, figures, numbers (and README) from the records of a tree."""
    root = results_root(tree or "")
    published = root == (repository() / "results").resolve()
    if not (root / "runs").is_dir() and any(root.iterdir()):
        raise StudyError(f"{root} is no results tree: it has no folder runs/")
    if published:
        counts = collect_tree(root, origin="published")
        rewrite_readme(root)
    else:
        counts = collect_tree(root, published=repository() / "results")
    for name, (count, taken) in counts.items():
        said = f", {taken} of them taken over from results/" if taken else ""
        say(f"{name}: {count} records{said}")
    if all(count == taken for count, taken in counts.values()):
        say(f"nothing in {root} was computed there: it now shows published figures")


@app.command(name="verify", epilog="Example: qstudy verify results work")
def verify_command(
    published: Annotated[Path, typer.Argument(help="A results tree.")],
    found: Annotated[Path, typer.Argument(help="The tree to be judged.")],
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep the counts in agreement/ of the first tree."),
    ] = False,
) -> None:
    """Compare two results trees by kind of value; exit 1 if any value differs."""
    for tree in (published, found):
        if not (tree / "runs").is_dir():
            raise StudyError(f"{tree} is no results tree: it has no folder runs/")
    comparisons = verify.compare(Store(published), Store(found))
    if not comparisons:
        raise StudyError(f"{published} and {found} have no run in common")
    for comparison in comparisons:
        if comparison.agrees is False:
            print(comparison)
    print(verify.summary(comparisons))
    print("by machine:")
    print(verify.machines(comparisons))
    if keep:
        trees = {"published": Store(published), "found": Store(found)}
        for path in agreement.keep(comparisons, **trees):
            say(f"kept {path}; 'qstudy collect' puts it into the numbers")
    if any(c.agrees is False for c in comparisons):
        raise typer.Exit(1)


@app.command(epilog="Example: qstudy publish --experiment dynamic")
def publish(
    experiment: Annotated[str, typer.Option(help="This experiment alone.")] = "",
) -> None:
    """Copy the runs of the full grids from work/ to results/ and collect there."""
    published, missing = publish_tree(
        work_root(), repository() / "results", experiment=experiment
    )
    say(f"published {published} runs; {missing} of the full grids are missing")


@app.command(name="data", epilog="Example: qstudy data --data-dir ~/datasets")
def data_command(data_dir: DataDir = None) -> None:
    """Get CIFAR-10 and Brown (from a folder, the cache, their sources), checked."""
    _use_data(data_dir)
    data.ensure("cifar10")
    data.ensure("brown")
    for state in data.state():
        print(state)


@app.command(epilog="Example: qstudy conformance --implementation my_module:mine")
def conformance(
    implementation: Annotated[
        str,
        typer.Option(help="module:function to test in place of the installed ones."),
    ] = "",
) -> None:
    """Put the published test vectors to qstudy and the installed packages, or yours.

    The function takes (op, parameters, input) and returns the expected fields; see
    qstudy.methods.conformance. Exit 1 if your implementation differs anywhere.
    """
    from qstudy.methods import conformance as kit
    from qstudy.methods.conformance import implementations

    chosen = implementations.installed()
    if implementation:
        sys.path.insert(0, os.getcwd())  # where a user's own module lies
        chosen = {implementation: kit.named(implementation)}
    vectors, differing = kit.load(), 0
    for name, function in chosen.items():
        outcomes = [kit.check(vector, function) for vector in vectors]
        wrong = [o for o in outcomes if o.result == "differs"]
        differing += len(wrong)
        for line in _differences(wrong):
            print(f"differs: {name} {line}")
        counts = Counter(outcome.result for outcome in outcomes)
        told = ", ".join(f"{counts[result]} {result}" for result in kit.RESULTS)
        print(f"{name}: {len(vectors)} vectors, {told}")
    if implementation and differing:
        raise typer.Exit(1)


def _differences(outcomes: list[Any]) -> list[str]:
    """A line a vector; one for all of more than three that differ in the same words."""
    same = Counter(outcome.found for outcome in outcomes)
    lines = {}
    for outcome in outcomes:
        count, words = same[outcome.found], outcome.found
        many = f"{outcome.vector.id} and {count - 1} more: {words}"
        alone = f"{outcome.vector.id}: {words}"
        key = words if count > 3 else outcome.vector.id
        lines.setdefault(key, many if count > 3 else alone)
    return list(lines.values())


@app.command(
    name="bench", epilog="Example: qstudy bench my_module:net --input 1x3x224x224"
)
def bench_command(
    model: Annotated[str, typer.Argument(help="module:function that gives it.")],
    shape: Annotated[
        str, typer.Option("--input", help="Shape of the input, as 1x3x224x224.")
    ],
    vocabulary: Annotated[
        int, typer.Option(help="Inputs are ids, of so many; 0: they are floats.")
    ] = 0,
    threads: Annotated[int | None, typer.Option(help="Default: torch's.")] = None,
    routes: Annotated[
        str, typer.Option(help="Only these, with commas between them.")
    ] = "",
    processes: Annotated[
        int, typer.Option(help="Fresh processes that the times come from.")
    ] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Time your own network along every route; say what holds its int8 back."""
    from qstudy.study import bench

    report = bench.bench(
        model,
        bench.example_of(shape, vocabulary=vocabulary),
        threads=threads,
        routes=routes.split(",") if routes else None,
        timing=bench.Timing(processes=processes),
    )
    print(report.as_json() if as_json else report)


@app.command(
    name="imagenet", epilog="Example: qstudy imagenet photographs/val --bits 8"
)
def imagenet_command(
    folder: Annotated[Path, typer.Argument(help="A folder with a folder a class.")],
    network: Annotated[
        str, typer.Option(help="efficientnet_lite0, resnet18 or mobilenet_v2.")
    ] = "efficientnet_lite0",
    bits: Annotated[int, typer.Option(help="Of weights and activations.")] = 8,
    granularity: Annotated[
        str, typer.Option(help="Of the weights: per_tensor or per_channel.")
    ] = "per_channel",
    calibrator: Annotated[str, typer.Option(help="minmax, percentile, mse, …")] = "mse",
    calibration_images: Annotated[
        int, typer.Option("--calibration", help="Images for it, which are not scored.")
    ] = 256,
    first: Annotated[int, typer.Option(help="Score only so many; 0: all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Score a pretrained network on your own photographs, in fp32 and quantized."""
    from tqdm import tqdm

    from qstudy.methods.static import QuantizeConfig
    from qstudy.study import imagenet

    if first < 0:
        raise ValueError(f"--first {first} is below 0, which stands for all images")
    report = imagenet.evaluate(
        folder,
        network=network,
        config=QuantizeConfig(
            weight_bits=bits,
            activation_bits=bits,
            granularity=granularity,
            calibrator=calibrator,
        ),
        calibration_images=calibration_images,
        first=first or None,
        progress=partial(tqdm, desc="  scoring", file=sys.stderr),
    )
    print(report.as_json() if as_json else report)


@app.command(epilog="Example: qstudy doctor")
def doctor() -> None:
    """Print versions, processor, engines, data and checkpoints, and what is missing."""
    print(doctor_report.report(**_stores()))


@app.command(epilog="Example: qstudy book")
def book(
    tree: Annotated[Path | None, typer.Option(help="Default: results/.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Default: here, or QSTUDY_WORK.")
    ] = None,
) -> None:
    """Build the book strictly from a results tree; errors are told, the log has all."""
    root = results_root(tree or "")
    with progress.log_of("book") as log:
        front = book_pages.build(root, output or book_folder(), log=log, say=say)
    print(f"the book is at {front}")


@app.command(epilog="Example: qstudy pdf")
def pdf(
    tree: Annotated[Path | None, typer.Option(help="Default: results/.")] = None,
    output: Annotated[Path | None, typer.Option(help="Default: _build/.")] = None,
) -> None:
    """Print the whole book to one PDF with Chromium."""
    target = output or repository() / "_build" / "qstudy.pdf"
    with progress.log_of("pdf") as log:
        made = print_book(results_root(tree or ""), target, log=log)
    print(f"the book is at {made}")


@app.command(epilog="Example: qstudy cite static.resnet20.drop")
def cite(
    key: Annotated[str, typer.Argument(help="Of a number, as the book shows it.")],
    tree: Annotated[Path | None, typer.Option(help="Default: results/.")] = None,
) -> None:
    """Say what stands behind a quoted number, and how to cite it."""
    root = results_root(tree or "")
    number = numbers.look_up(numbers.load(root), key)
    if number.value == numbers.NOT_MEASURED:
        raise StudyError(f"number {key!r} is {number.value}, {root}")
    runs = provenance.Runs(root, repository() / "results")
    for name, text in provenance.rows(key, number, runs):
        print(f"{name:<9} {text}")
    study_itself = citation.load(repository() / "CITATION.cff")
    print(f"cite      {study_itself.text(f'Number {key}')}")
    print(study_itself.bibtex(f"Number {key}", slug=key))


@app.command(epilog="Example: qstudy claims deck.size")
def claims(
    name: Annotated[
        str, typer.Argument(metavar="[ID]", help="One claim; all where it is left out.")
    ] = "",
    tree: Annotated[Path | None, typer.Option(help="Default: results/.")] = None,
) -> None:
    """List the claims with their verdicts, or tell all about one."""
    claim = entries.by_id(name) if name else None
    ledger = entries.read(results_root(tree or ""))
    print(entries.as_text(ledger) if claim is None else entries.told(claim, ledger))


@app.command(epilog="Example: qstudy study --mode quick")
def study(
    mode: Annotated[
        str, typer.Option(help=f"One of {', '.join(whole.MODES)}.")
    ] = "quick",
    data_dir: DataDir = None,
) -> None:
    """Compute every run, build the book, compare with the published results."""
    _use_data(data_dir)
    whole.study(mode)


def main() -> None:
    """The entry point: errors become one line on standard error."""
    try:
        # Outside its standalone mode Typer returns the exit code, 130 after Ctrl-C.
        code = app(standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except (RuntimeError, ValueError, TypeError, OSError, ArithmeticError) as error:
        if os.environ.get("QSTUDY_DEBUG"):
            raise
        _fail(str(error), 1)
    except Exception as error:
        # Typer's own usage errors (unknown option and the like) carry an exit code.
        if not hasattr(error, "exit_code"):
            raise
        _fail(error.format_message(), error.exit_code)
    if code == 130:
        _fail("stopped; finished runs are kept, the same command resumes", code)
    sys.exit(code)


def _fail(message: str, code: int) -> None:
    say(f"qstudy: {' '.join(message.split())}")
    sys.exit(code)
