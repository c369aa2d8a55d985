"""The four networks: what they are made of, and how a face comes out of them."""
