"""Language models: resumed runs, scores, and the 3-gram beside NLTK's own."""

import math

import numpy as np
import pytest
import torch
from nltk.lm import KneserNeyInterpolated
from nltk.lm.smoothing import KneserNey

from qstudy.models import text
from qstudy.training import ngram
from qstudy.training.classifier import ClassifierRecipe, train_classifier
from qstudy.training.language import LanguageRecipe, token_scores, train_language

RECIPE = LanguageRecipe(epochs=3, batch=2, window=8, dropout=0.2, precision="fp32")


def corpus(count=4, seed=0, words=30):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        ids = rng.integers(2, words, size=60)
        ids[9::10] = 1
        found.append(ids)
    return found


def trained(resume=None, stops=(None,)):
    for stop in stops:
        torch.manual_seed(99)  # what was drawn before must not matter
        model = text.build("tiny_lstm", dropout=RECIPE.dropout)
        log = train_language(
            model, corpus(), recipe=RECIPE, seed=5, resume=resume, stop_after=stop
        )
    return model, log


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path):
    whole, log = trained()
    resumed, again = trained(tmp_path, stops=(1, 2, None))
    assert [e["loss"] for e in log] == [e["loss"] for e in again]
    for (name, one), other in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_training_lowers_the_loss():
    texts = [np.tile([2, 3, 4, 5, 1], 40)] * 2
    model = text.build("tiny_lstm")
    recipe = LanguageRecipe(epochs=8, batch=2, window=20, peak_lr=2e-2, dropout=0.0)
    log = train_language(model, texts, recipe=recipe, seed=0)
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]


def test_scores_are_those_of_each_text_alone():
    model = text.build("tiny_lstm").eval()
    texts = [t[:n] for t, n in zip(corpus(), (60, 7, 33, 1), strict=True)]
    together = token_scores(model, texts, batch=3)
    for ids, found in zip(texts, together, strict=True):
        (alone,) = token_scores(model, [ids], batch=1)
        assert found.loss == pytest.approx(alone.loss, abs=1e-5)
        x = torch.from_numpy(np.concatenate([[1], ids[:-1]]))[None]
        with torch.inference_mode():
            p = model(x)[0][0].log_softmax(-1)
        wanted = -p[torch.arange(len(ids)), torch.from_numpy(ids)]
        assert found.loss == pytest.approx(wanted.numpy(), abs=1e-5)
        assert found.hit.tolist() == (p.argmax(-1).numpy() == ids).tolist()
    with pytest.raises(ValueError, match="cannot be scored"):
        token_scores(model, [np.empty(0, np.int64)])


def test_too_little_text_and_bad_recipes_are_named():
    with pytest.raises(ValueError, match="do not fill one window"):
        train_language(
            text.build("tiny_lstm"), [np.ones(9, np.int64)], recipe=RECIPE, seed=0
        )
    for wrong, said in (
        ({"epochs": 0}, "epochs 0"),
        ({"epochs": 1, "dropout": 1.0}, "dropout"),
        ({"epochs": 1, "precision": "int8"}, "precision 'int8'"),
    ):
        with pytest.raises(ValueError, match=said):
            LanguageRecipe(**wrong)


def test_a_loss_that_is_not_finite_stops_the_training():
    recipe = LanguageRecipe(epochs=2, batch=2, window=8, peak_lr=float("inf"))
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        train_language(text.build("tiny_lstm"), corpus(), recipe=recipe, seed=0)


def test_counted_once_the_smoothing_is_nltks_own():
    texts = corpus(3, words=8)
    ours = ngram.KneserNeyTrigram(texts, discount=0.7)
    theirs = KneserNey(
        ours.smoothing.vocab, ours.counter, order=ngram.ORDER, discount=0.7
    )
    contexts = {
        g[:-1] for t in texts for s in ngram.sentences(t) for g in ngram.ngrams(s)
    }
    for context in sorted(contexts):
        for word in range(1, 8):
            if context:
                one = ours.smoothing.alpha_gamma(word, context)
                other = theirs.alpha_gamma(word, context)
            else:
                one = ours.smoothing.unigram_score(word)
                other = theirs.unigram_score(word)
            assert one == pytest.approx(other, abs=1e-12)


def test_the_recursion_is_nltks_own():
    texts = corpus(2, words=6)
    ours = ngram.KneserNeyTrigram(texts, discount=0.6)
    theirs = KneserNeyInterpolated(ngram.ORDER, discount=0.6)
    theirs.counts = ours.counter
    theirs.estimator.counts = ours.counter
    for context in ((2, 3), (-1, -1), (4,), ()):
        for word in (1, 2, 5):
            found = ours.probability(word, context)
            assert found == pytest.approx(
                theirs.unmasked_score(word, context or None), abs=1e-12
            )


def test_probabilities_sum_to_one():
    texts = corpus(3, words=12)
    words = sorted({int(w) for t in texts for w in t})
    model = ngram.KneserNeyTrigram(texts, discount=0.75)
    for context in ((-1, -1), (-1, words[1]), (words[2], words[3]), (5, 99)):
        total = sum(model.probability(w, context) for w in words)
        assert total == pytest.approx(1.0, abs=1e-9), context


def test_an_ngram_counts_sentence_ends_and_refuses_a_discount():
    model = ngram.KneserNeyTrigram([np.array([2, 3, 1, 2, 1])], discount=0.5)
    losses = model.losses(np.array([2, 1]))
    assert len(losses) == 2 and all(math.isfinite(v) for v in losses)
    with pytest.raises(ValueError, match=r"discount 1\.5"):
        ngram.KneserNeyTrigram([np.array([2, 1])], discount=1.5)


def test_a_classifier_learns_and_its_seed_decides():
    x = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    labels = (x[:, 0] > 0).numpy().astype(int)
    recipe = ClassifierRecipe(epochs=40, batch=16, peak_lr=5e-2)

    def fit(seed):
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 2)
        loss = train_classifier(model, x, labels, recipe=recipe, seed=seed)
        return loss, model.weight.detach()

    loss, weight = fit(1)
    assert loss < 0.2 and torch.equal(weight, fit(1)[1])
    assert not torch.equal(weight, fit(2)[1])
    with pytest.raises(ValueError, match="epochs 0"):
        ClassifierRecipe(epochs=0)
