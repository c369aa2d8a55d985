"""From a source to finished shards: gather, curate, label, pack."""
