"""`python -m qstudy` is the command `qstudy`."""

from qstudy.study.cli import main

main()
