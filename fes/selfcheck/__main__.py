"""`python -m fes.selfcheck`, for launchers: one process of `fes selfcheck gradients`."""

from fes.selfcheck.command import main

if __name__ == "__main__":
    main()
