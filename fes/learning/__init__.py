"""What the two players minimise, with which weights at which step, and what sets itself."""
