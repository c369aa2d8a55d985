"""Tables of figures beside their targets."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def verdict(sign: str, target: float, met: bool) -> str:
    """A target, and whether it was missed."""
    return f"{sign} {target:g}" + ("" if met else ", missed")


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
