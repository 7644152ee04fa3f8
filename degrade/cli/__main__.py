"""`python -m degrade.cli`."""

from degrade.cli import main

main()
