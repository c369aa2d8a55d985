"""The training step as other trainers take it, written anew from their published descriptions."""
