"""`fes selfcheck gradients`: whether ranks compute here what one process would, with a verdict."""
