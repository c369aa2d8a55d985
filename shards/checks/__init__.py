"""Finds what is wrong with finished shards, and repairs it."""
