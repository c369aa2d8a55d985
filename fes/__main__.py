"""`fes`, also as `python -m fes`: loads what its commands need, which takes seconds, and Ctrl-C may come."""

import signal


def main() -> None:
    """The command line; Ctrl-C ends it without a word until there is something to say."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # as that of a job in the background is
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from fes.cli import main as told

    signal.signal(signal.SIGINT, before)
    told()


if __name__ == "__main__":
    main()
