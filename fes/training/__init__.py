"""A run from its command line to its last state: the loop, what feeds it, and what it tells and leaves."""
