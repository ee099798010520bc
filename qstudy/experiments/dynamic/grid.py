"""The runs of the dynamic chapter: what is trained, scored, compared and timed.

Builders of RunSpecs, the map of timings, and the grids of the modes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qstudy.experiments.dynamic.forms import FORMS
from qstudy.spec import RunSpec

NAME = "dynamic"
VERSION = 1
# Words a passage that the encoder and the MLP are scored on.
TRAINED = ("lstm", "minilm", "mlp")
# What torch does when told nothing: the form that prose and front page quote.
HEADLINE = "x86"
PARAMETERS: dict[str, Any] = {"words": 100}

_LSTM = {
    "epochs": 14,
    "batch": 20,
    "window": 64,
    "peak_lr": 3e-3,
    "warmup": 0.05,
    "dropout": 0.3,
    "weight_decay": 0.0,
    "clip": 1.0,
    "precision": "bf16",
}
_HEAD = {"epochs": 60, "batch": 64, "peak_lr": 1e-2, "weight_decay": 1e-2}
_MLP = {
    "epochs": 15,
    "batch": 64,
    "peak_lr": 1e-3,
    "weight_decay": 1e-1,
    "dropout": 0.5,
}

ENGINES = ("x86", "fbgemm", "onednn", "qnnpack")
# "precision:form[:compiled]": what a timing worker is asked to build.
FLOAT = ("fp32:eager", "bf16:eager", "fp16:fp16_weights")
INT8 = tuple(f"int8:{engine}" for engine in ENGINES)
FAST_INT8 = INT8[:3]
# Compiling takes longer than timing, so these are timed in runs of their own.
COMPILED = (
    "fp32:eager",
    "fp32:compiled",
    "bf16:eager",
    "bf16:compiled",
    "int8:x86",
    "int8:torchao_compiled",
)
LENGTHS, BATCHES = (16, 64, 128), (1, 8, 32)
# The shapes with random weights, and which batches share a run; the rest is another.
UNTRAINED = {"lstm_512": (1, 32), "lstm_1024": (1, 32), "bert_base": (1, 8)}
QUICK_LENGTH = 64
ROWS = (1, 4, 16, 64, 256)


def _spec(
    task: str, model: str, dataset: str, *, seed: int = 0, **params: Any
) -> RunSpec:
    common = {"task": task, "model": model, "dataset": dataset, "threads": 2}
    return RunSpec(
        experiment=NAME, version=VERSION, seed=seed, params={**common, **params}
    )


def train_spec(model: str, *, dataset: str = "brown", seed: int = 0) -> RunSpec:
    """Train `model` (lstm, minilm, mlp, or their tiny forms) for the study's task."""
    small = dataset != "brown"
    if model.endswith("lstm"):
        recipe = {
            **_LSTM,
            **({"epochs": 1, "batch": 20, "window": 32} if small else {}),
        }
        return _spec("train", model, dataset, seed=seed, recipe=recipe)
    recipe = _MLP if model.endswith("mlp") else _HEAD
    recipe = {**recipe, **({"epochs": 3} if small else {})}
    per_text = 20 if model == "mlp" else 8
    words = 30 if small else PARAMETERS["words"]
    cut = {"per_text": 2 if small else per_text, "words": words}
    return _spec("train", model, dataset, seed=seed, recipe=recipe, **cut)


def quality_spec(parent: RunSpec, how: str) -> RunSpec:
    """Score the network of `parent` in the form `how` on the test texts."""
    model, dataset = parent.params["model"], parent.params["dataset"]
    words = parent.params.get("words", 0)
    cut = (
        {"per_text": min(8, parent.params["per_text"]), "words": words} if words else {}
    )
    if how.startswith("simulated_static"):
        cut["calibration"] = 256 if dataset == "brown" else 16
    return _spec(
        "quality", model, dataset, how=how, parent=parent.as_dict(), batch=32, **cut
    )


def ngram_spec(dataset: str = "brown") -> RunSpec:
    """The Kneser-Ney 3-gram; its discount is chosen on the validation texts."""
    return _spec(
        "ngram",
        "kneser_ney_3" if dataset == "brown" else "tiny_kneser_ney_3",
        dataset,
        discounts=[0.6, 0.7, 0.8, 0.9, 0.95],
    )


def latency_spec(
    model: str,
    candidates: tuple[str, ...],
    *,
    batches: tuple[int, ...],
    length: int = 0,
    threads: int = 2,
    parent: RunSpec | None = None,
) -> RunSpec:
    """Time `candidates` of `model` at each of `batches`, `length` tokens a sequence."""
    given = {"parent": parent.as_dict()} if parent else {}
    return _spec(
        "latency",
        model,
        parent.params["dataset"] if parent else "none",
        candidates=list(candidates),
        batches=list(batches),
        length=length,
        processes=5,
        rounds=30,
        seconds=1.2,
        warmup_seconds=0.15,
        **{**given, "threads": threads},
    )


def latency_grid() -> list[RunSpec]:
    """Every engine at every batch, length and thread count; compiled where it can be.

    torch.compile leaves an LSTM to the kernel that eager mode uses, so the LSTMs have
    no compiled forms.
    """
    lstm, minilm, mlp = (train_spec(m) for m in ("lstm", "minilm", "mlp"))
    one, many = BATCHES[:1], BATCHES[1:]
    specs = []
    for threads in (2, 1):
        for length in LENGTHS:
            for parent, more in ((lstm, ()), (minilm, ("int8:torchao",))):
                for candidates, batches in (
                    ((*FLOAT, *INT8, *more), one),
                    ((*FLOAT, *FAST_INT8), many),
                    (("fp32:eager", "bf16:eager", "int8:qnnpack", *more), many),
                    *([(COMPILED, BATCHES)] if parent is minilm else []),
                ):
                    specs.append(
                        latency_spec(
                            parent.params["model"], candidates, batches=batches,
                            length=length, threads=threads, parent=parent,
                        )
                    )  # fmt: skip
        for candidates in ((*FLOAT, *INT8, "int8:torchao"), COMPILED):
            specs.append(
                latency_spec(
                    "mlp", candidates, batches=BATCHES, threads=threads, parent=mlp
                )
            )
    # Shapes with random weights: both cores, the fast engines.
    for length in LENGTHS:
        for model, pair in UNTRAINED.items():
            rest = tuple(b for b in BATCHES if b not in pair)
            for batches in (pair, rest):
                specs.append(
                    latency_spec(
                        model, (*FLOAT, *FAST_INT8), batches=batches, length=length
                    )
                )
    for model in ("linear_1024", "linear_4096"):
        specs.append(latency_spec(model, (*FLOAT[:2], "int8:x86"), batches=ROWS))
    return specs


def quality_forms(model: str) -> list[str]:
    """The forms in which `model` is scored: all that its layers allow."""
    forms = [how for how, form in FORMS.items() if form.engine != "simulated"]
    if model.endswith("lstm"):
        # torch's LSTM cells are per tensor with 7 bits; torchao knows no LSTM.
        forms = [f for f in forms if "per_channel" not in f]
    if model.endswith("mlp"):
        forms.remove("x86_embedding")
    if model == "minilm":
        forms += [how for how, form in FORMS.items() if form.engine == "simulated"]
    return forms


def ranges_spec(parent: RunSpec) -> RunSpec:
    """What fixed and own ranges the layers of `parent`'s encoder have."""
    small = parent.params["dataset"] != "brown"
    return _spec(
        "ranges",
        parent.params["model"],
        parent.params["dataset"],
        words=parent.params["words"],
        calibration=16 if small else 256,
        passages=16 if small else 200,
    )


def kernels_spec(parent: RunSpec) -> RunSpec:
    """The engines' dynamic kernels beside the study's, on the encoder's inputs."""
    return _spec(
        "kernels",
        parent.params["model"],
        parent.params["dataset"],
        words=parent.params["words"],
        passages=2 if parent.params["dataset"] != "brown" else 8,
    )


def grid(mode: str) -> list[RunSpec]:
    """quick: fp32 and torch's int8 scored, batch 1 timed once. full: the whole map."""
    if mode == "smoke":
        return _smoke()
    encoder = train_spec("minilm")
    timed = latency_grid()
    quick = [
        quality_spec(train_spec(m), how) for m in TRAINED for how in ("fp32", HEADLINE)
    ]
    quick += [kernels_spec(encoder)]
    quick += [
        spec
        for spec in timed
        if spec.params["length"] == QUICK_LENGTH
        and spec.params["threads"] == 2
        and spec.params["batches"] == [1]
        # MiniLM's compile, which costs more than all else that quick mode times here.
        and spec.params["model"] == "lstm"
    ]
    if mode == "quick":
        return quick
    specs = [train_spec(model) for model in TRAINED]
    specs += [ngram_spec()]
    specs += [
        quality_spec(train_spec(model), how)
        for model in TRAINED
        for how in quality_forms(model)
    ]
    specs += [ranges_spec(encoder), *quick, *timed]
    return list(dict.fromkeys(specs))


def _smoke() -> list[RunSpec]:
    trained = [
        train_spec(model, dataset="synthetic_text")
        for model in ("tiny_lstm", "tiny_encoder", "tiny_mlp")
    ]
    encoder = trained[1]
    timing = latency_spec(
        "tiny_lstm", ("fp32:eager", "bf16:eager", "int8:x86"), batches=(1,), length=8,
        threads=2, parent=trained[0],
    )  # fmt: skip
    layer = latency_spec("linear_1024", (*FLOAT[:2], "int8:x86"), batches=(1, 4))
    short = {"processes": 2, "rounds": 3, "seconds": 0.5, "warmup_seconds": 0.05}
    return [
        *trained,
        ngram_spec("synthetic_text"),
        *(
            quality_spec(parent, how)
            for parent in trained
            for how in ("fp32", HEADLINE)
        ),
        quality_spec(encoder, "simulated_dynamic"),
        quality_spec(encoder, "simulated_static_max"),
        ranges_spec(encoder),
        kernels_spec(encoder),
        *(replace(t, params={**t.params, **short}) for t in (timing, layer)),
    ]
