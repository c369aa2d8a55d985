"""Shards behind addresses, fetched ahead into a bounded local cache."""
