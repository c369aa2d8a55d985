"""`fes bench`: how fast this machine trains, and what share of its peak that is."""

from fes.bench.command import Bench

__all__ = ["Bench"]
