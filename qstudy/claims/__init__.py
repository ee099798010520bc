"""Does it hold? The claims of the deck and of its papers, judged by code.

`ledger` says what a claim is, `rules` decides, `faults` are what the rules must reject;
`deck*`, `papers*`, `posts` and `speed` hold the claims; `entries` makes claims.csv and
the quoted numbers of a tree; `pages` brings them into the book. Imports no torch.
"""

from qstudy.claims.ledger import (
    Claim,
    Control,
    Evidence,
    Finding,
    judge,
    judge_control,
)

__all__ = ["Claim", "Control", "Evidence", "Finding", "judge", "judge_control"]
