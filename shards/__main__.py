"""`fes-shards`, also as `python -m shards`."""

from fes.loading import ended_without_a_word


def main() -> None:
    """The command line."""
    with ended_without_a_word():
        from shards.cli import main as told
    told()


if __name__ == "__main__":
    main()
