"""Codes of 2 to 8 bits, packed into bytes without a gap, and read back bit-exact.

Code i takes the bits b i to b i + b - 1 of the file, counted from the least significant
bit of byte 0; so a 3-bit code may lie across two bytes. A signed code is stored in
two's complement of b bits. The bits after the last code are 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BITS = (2, 8)


def packed_bytes(count: int, *, bits: int) -> int:
    """How many bytes `count` codes of `bits` bits take. ValueError for other bits."""
    _check_bits(bits)
    return math.ceil(count * bits / 8)


def pack(codes: Tensor, *, bits: int, signed: bool) -> Tensor:
    """Integer `codes` of any shape, in row-major order, as uint8 (packed_bytes,).

    Raises ValueError for bits outside 2 to 8, a dtype that is no integer, and a code
    that `bits` bits do not hold.
    """
    low, high = _range(bits, signed=signed)
    if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise ValueError(f"codes are {codes.dtype}: integers are needed")
    if codes.numel() and not low <= codes.min() <= codes.max() <= high:
        bad = codes.min() if codes.min() < low else codes.max()
        raise ValueError(
            f"code {bad.item()} does not fit {bits} bits, {low} to {high} "
            f"{'signed' if signed else 'unsigned'}"
        )
    # The low bits of two's complement are the same in every width.
    flat = codes.detach().cpu().reshape(-1).to(torch.int64).numpy().astype(np.uint8)
    single = np.unpackbits(flat[:, None], axis=1, count=bits, bitorder="little")
    return torch.from_numpy(np.packbits(single, bitorder="little"))


def unpack(packed: Tensor, *, bits: int, signed: bool, shape: Sequence[int]) -> Tensor:
    """The codes that `pack` was given, of `shape`: int8 if signed, else uint8.

    Raises ValueError for bits outside 2 to 8, and for bytes that are not uint8 (K,), of
    another length than `shape` needs, or with bits set after the last code.
    """
    low, _ = _range(bits, signed=signed)
    count = math.prod(shape)
    needed = packed_bytes(count, bits=bits)
    if packed.dtype != torch.uint8 or tuple(packed.shape) != (needed,):
        raise ValueError(
            f"packed codes are {packed.dtype} of shape {tuple(packed.shape)}: "
            f"{tuple(shape)} codes of {bits} bits are torch.uint8 of shape ({needed},)"
        )
    single = np.unpackbits(packed.detach().cpu().numpy(), bitorder="little")
    if single[count * bits :].any():
        raise ValueError(
            f"bits are set after the last of {count} codes: the bytes are damaged, or "
            f"were not packed with {bits} bits"
        )
    rows = single[: count * bits].reshape(count, bits)
    codes = np.packbits(rows, axis=1, bitorder="little").reshape(-1).astype(np.int16)
    if signed:
        codes = np.where(codes >= -low, codes + 2 * low, codes)
    kept = torch.from_numpy(codes.astype(np.int8 if signed else np.uint8))
    return kept.reshape(tuple(shape))


def _range(bits: int, *, signed: bool) -> tuple[int, int]:
    _check_bits(bits)
    low = -(2 ** (bits - 1)) if signed else 0
    return low, low + 2**bits - 1


def _check_bits(bits: int) -> None:
    least, most = BITS
    if isinstance(bits, bool) or not isinstance(bits, int) or not least <= bits <= most:
        raise ValueError(f"bits {bits!r} is not a whole number from {least} to {most}")
