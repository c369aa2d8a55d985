"""WebDataset shards that others made, indexed where they lie."""
