"""`python -m fes.selfcheck`, for launchers: one process of `fes selfcheck gradients`."""

from fes.runtime.stopping import leaving
from fes.selfcheck.command import main

if __name__ == "__main__":
    with leaving():
        main()
