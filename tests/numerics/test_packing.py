"""Packed codes against one big integer, and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qstudy.numerics.packing import pack, packed_bytes, unpack


@st.composite
def drawn(draw):
    """(codes as a list, bits, signed)"""
    bits, signed = draw(st.integers(2, 8)), draw(st.booleans())
    low = -(2 ** (bits - 1)) if signed else 0
    codes = st.integers(low, low + 2**bits - 1)
    return draw(st.lists(codes, max_size=70)), bits, signed


@settings(max_examples=200, deadline=None)
@given(drawn())
def test_bytes_are_those_of_one_long_number(case):
    codes, bits, signed = case
    number = sum((code % 2**bits) << (bits * i) for i, code in enumerate(codes))
    size = packed_bytes(len(codes), bits=bits)
    packed = pack(torch.tensor(codes, dtype=torch.int32), bits=bits, signed=signed)
    assert packed.dtype == torch.uint8
    assert bytes(packed.tolist()) == number.to_bytes(size, "little")


@settings(max_examples=200, deadline=None)
@given(drawn(), st.sampled_from([torch.int8, torch.int16, torch.int32, torch.int64]))
def test_codes_come_back(case, dtype):
    codes, bits, signed = case
    tensor = torch.tensor(codes, dtype=torch.int64)
    if not signed and bits == 8 and dtype == torch.int8:
        dtype = torch.uint8
    packed = pack(tensor.to(dtype), bits=bits, signed=signed)
    back = unpack(packed, bits=bits, signed=signed, shape=(len(codes),))
    assert back.dtype == (torch.int8 if signed else torch.uint8)
    assert back.tolist() == codes


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_shape_and_order_are_kept_whatever_the_memory_layout(bits):
    codes = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5) % 2**bits - 2 ** (bits - 1)
    last = codes.to(memory_format=torch.channels_last)
    packed = pack(last, bits=bits, signed=True)
    assert torch.equal(packed, pack(codes, bits=bits, signed=True))
    assert torch.equal(
        unpack(packed, bits=bits, signed=True, shape=codes.shape).long(), codes
    )


def test_sizes():
    assert packed_bytes(9216, bits=2) == 2304
    assert packed_bytes(9216, bits=3) == 3456
    assert packed_bytes(3, bits=3) == 2
    assert packed_bytes(0, bits=3) == 0


@pytest.mark.parametrize("bits", [1, 9, 0, 2.0, True])
def test_bits_outside_2_to_8_are_refused(bits):
    codes = torch.zeros(4, dtype=torch.int8)
    for call in (
        lambda: pack(codes, bits=bits, signed=True),
        lambda: unpack(codes.byte(), bits=bits, signed=True, shape=(4,)),
        lambda: packed_bytes(4, bits=bits),
    ):
        with pytest.raises(ValueError, match="is not a whole number from 2 to 8"):
            call()


@pytest.mark.parametrize(
    ("code", "signed"), [(2, True), (-3, True), (4, False), (-1, False)]
)
def test_codes_that_do_not_fit_are_named(code, signed):
    with pytest.raises(ValueError, match=rf"code {code} does not fit 2 bits"):
        pack(torch.tensor([0, 1, code]), bits=2, signed=signed)


def test_damaged_or_foreign_bytes_are_refused():
    codes = torch.tensor([3, 1, 2])
    packed = pack(codes, bits=3, signed=False)
    with pytest.raises(ValueError, match=r"torch.uint8 of shape \(2,\)"):
        unpack(packed[:1], bits=3, signed=False, shape=(3,))
    with pytest.raises(ValueError, match=r"torch.uint8 of shape \(2,\)"):
        unpack(packed.to(torch.int16), bits=3, signed=False, shape=(3,))
    damaged = packed.clone()
    damaged[1] |= 128
    with pytest.raises(ValueError, match="bits are set after the last of 3 codes"):
        unpack(damaged, bits=3, signed=False, shape=(3,))
    for bad in (codes.float(), codes.bool()):
        with pytest.raises(ValueError, match="integers are needed"):
            pack(bad, bits=3, signed=False)
