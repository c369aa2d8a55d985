"""`python -m fes.selfcheck`, for launchers: one process of `fes selfcheck gradients`."""

from fes.loading import ended_without_a_word

if __name__ == "__main__":
    with ended_without_a_word():
        from fes.runtime.stopping import leaving
        from fes.selfcheck.command import main
    with leaving():
        main()
