"""fes: train and use a network that draws any face with any of seven expressions."""

__version__ = "0.1.0"
