"""What a run keeps and begins from: snapshots for people, states to go on from, networks of other runs."""
