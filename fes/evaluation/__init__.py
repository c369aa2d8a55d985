"""How good synthesised faces are: natural, of the right person, of the asked expression.

docs/evaluation.md explains each figure.
"""
