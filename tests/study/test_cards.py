"""A model card says what the record of its network says, and nothing else."""

import re
from dataclasses import replace

import pytest

from qstudy import experiments
from qstudy.study import cards
from qstudy.study.store import Store, checkpoint_of
from qstudy.study.tree import repository

STORE = Store(repository() / "results")
TRAINED = [
    record
    for experiment in experiments.ALL
    for record in STORE.records(experiment.NAME, experiment.VERSION)
    if checkpoint_of(record)
]


@pytest.mark.parametrize("record", TRAINED, ids=lambda r: checkpoint_of(r)[0])
def test_a_card_tells_what_was_trained_on_what_and_how_good_it_is(record):
    text = cards.card(record)
    name, sha = checkpoint_of(record)
    params = record.spec.params
    for told in (name, sha, record.spec.key, params["dataset"], record.machine):
        assert str(told) in text
    threads = params["threads"]
    assert ("on 1 thread," if threads == 1 else f"on {threads} threads,") in text
    for key, value in params["recipe"].items():
        assert f"{key} {value}" in text
    for row in ("Seed", "Cost", "Licence", "Limits", "Versions"):
        assert f"* **{row}:** " in text
    score = next(v for k, v in record.values.items() if "top1" in k or "perp" in k)
    (told,) = re.findall(rf"\* \*\*.*, (\w+):\*\* {score.value:.2f}", text)
    cifar = record.spec.experiment in ("baselines", "qat", "lsq")
    test = cifar and params["split"] == "train"
    assert told == ("test" if test else "validation")


def test_the_line_that_a_card_gives_loads_its_network():
    import qstudy

    for record in TRAINED:
        if record.spec.params["model"] == "minilm":
            continue  # its encoder may not be in the cache
        call = re.search(r"`(qstudy\.load\(.*?\))`", cards.card(record))[1]
        network = eval(call, {"qstudy": qstudy})
        assert not network.training


def test_cards_follow_the_checkpoints(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "gone.md").write_text("old")
    record = TRAINED[0]
    name, _ = checkpoint_of(record)
    cards.write_cards(store, [record])
    assert not list((tmp_path / "cards").iterdir())
    (tmp_path / "checkpoints" / name).touch()
    cards.write_cards(store, [record, replace(record, artifacts={})])
    (made,) = (tmp_path / "cards").iterdir()
    assert made.stem == name.removesuffix(".safetensors")


def test_a_run_without_a_network_has_no_card():
    with pytest.raises(KeyError, match="kept no checkpoint"):
        cards.card(replace(TRAINED[0], artifacts={}))


def test_the_page_of_the_networks_shows_every_card():
    page = (repository() / "chapters" / "networks.md").read_text(encoding="utf-8")
    shown = re.findall(r"\{include\} \.\./results/cards/(\S+)\.md", page)
    assert sorted(shown) == sorted(p.stem for p in (STORE.root / "cards").glob("*.md"))
