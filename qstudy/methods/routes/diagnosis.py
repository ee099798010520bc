"""What holds the fastest int8 route back, in a sentence, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping

from qstudy.methods.routes.examine import Examined
from qstudy.methods.routes.kernels import kind_of

# A part of the time that is worth naming.
LARGE = 0.25


def sentence(
    found: Mapping[str, Examined], *, fastest: str | None, ratio: tuple[float, ...] = ()
) -> str:
    """What a reader should know first; `found` as `examine` gives it.

    `fastest` is the fastest int8 route, None where none was timed, and `ratio` its
    speed against the best fp32 with the two ends of its interval.
    """
    if fastest is None:
        return _without_int8(found)
    value, low, high = ratio
    said = f"{fastest} is {value:.2f} times as fast as the best fp32"
    if low <= 1 <= high:
        said = f"{fastest} and the best fp32 are not told apart ({value:.2f} times)"
    return f"{said}: {held_back(found, fastest)}."


def held_back(found: Mapping[str, Examined], fastest: str) -> str:
    """The largest thing between `fastest` and its kernels' own speed."""
    kernels = found[fastest].kernels
    stayed, int8 = kernels.total("float"), kernels.total("int8")
    if not int8:
        named = str(kernels) or "none was named"
        return f"no kernel known to be int8 ran ({named}), which proves nothing of int8"
    if stayed:
        floats = ", ".join(n for n in kernels.counts if kind_of(n) == "float")
        return (
            f"{stayed} of its {stayed + int8} kernels that multiply stayed in floats "
            f"({floats}), each with a rounding before and behind it"
        )
    all_int8 = f"all {int8} kernels that multiply ran in int8"
    who = _told(found, fastest)
    if who is None:
        return f"{all_int8}; its engine does not tell where the time goes"
    spent = found[who].spent
    own = "its time" if who == fastest else f"the time of {who}"
    part, share = max(spent.shares.items(), key=lambda item: item[1])
    if part == "kernels" or share < LARGE:
        return f"{all_int8}; kernels take {spent.shares['kernels']:.0%} of {own}"
    return f"{share:.0%} of {own} goes into {_PARTS[part]}"


_PARTS = {
    "rounding": "rounding between float and int8; fewer layers in floats need less",
    "other": "operators that do not multiply; a compiled route can fuse them",
    "framework": "calls between operators; a trace or a larger batch has fewer",
}


def _told(found: Mapping[str, Examined], fastest: str) -> str | None:
    """`fastest`, or where its engine does not tell, the fastest int8 one that does."""
    if found[fastest].spent is not None:
        return fastest
    told = [e for e in found.values() if e.spent and e.kernels.total("int8")]
    return min(told, key=lambda e: e.spent.whole).route if told else None


def _without_int8(found: Mapping[str, Examined]) -> str:
    reasons = [e for n, e in found.items() if n.startswith("int8:") and e.refused]
    if not reasons:
        return "No int8 route was asked for."
    first = reasons[0]
    return f"No int8 route takes this network; {first.route} says: {first.refused}."
