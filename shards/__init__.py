"""Shards: data sets as plain WebDataset tars plus an index that finds any member by its offset."""
