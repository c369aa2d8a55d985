"""`python -m shards` does what `fes-shards` does."""

from shards.cli import main

main()
