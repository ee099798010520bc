"""`collect`, in a process of its own, and every value before its digits are cut.

    python -m tests.study.derive TREE

rewrites what is derived in TREE and writes derived.json beside it: each cell of each
table, the data of each figure and each number, floats as hexadecimal, so that two
processes whose arithmetic differs in the last bit cannot agree by rounding.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from qstudy.report import figures, numbers, tables
from qstudy.study.collect import collect


def exact(value):
    """A value as text that keeps every bit."""
    value = value.item() if hasattr(value, "item") else value
    return value.hex() if isinstance(value, float) else repr(value)


def main(tree):
    """Derive everything in `tree` and keep what was derived, uncut."""
    uncut = {}
    write_csv, as_json = tables.write_csv, numbers.as_json

    def keep_frame(frame, path):
        rows = [[exact(v) for v in row] for row in frame.itertuples(index=False)]
        uncut[f"{path.parent.name}/{path.name}"] = rows
        write_csv(frame, path)

    def keep_numbers(quoted):
        for key, number in quoted.items():
            uncut[key] = [exact(v) for v in asdict(number).values()]
        return as_json(quoted)

    tables.write_csv = figures.write_csv = keep_frame
    numbers.as_json = keep_numbers
    collect(tree, origin="published")
    (tree / "derived.json").write_text(json.dumps(uncut, indent=0, sort_keys=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
