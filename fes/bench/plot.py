"""The rates of `fes bench` as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fes.errors import InputError


def check_plotting() -> None:
    """Raises `InputError` where there is nothing to draw with."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("fes bench draws with matplotlib: pip install 'fes[bench]'") from None


def draw_rates(path: Path, results: Sequence[Mapping[str, object]]) -> None:
    """Bars of pictures per second for each resolution: the trainer, its step alone, a reader alone."""
    from matplotlib.figure import Figure

    kinds = {
        "trainer": "images_per_second",
        "step alone": "step_images_per_second",
        "a reader alone": "loader_images_per_second",
    }
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for number, (name, key) in enumerate(kinds.items()):
        places = [at + 0.27 * (number - 1) for at in range(len(results))]
        axes.bar(places, [float(each[key]) for each in results], width=0.25, label=name)
    axes.set_xticks(range(len(results)), [f"{each['resolution']} px" for each in results])
    axes.set(yscale="log", ylabel="pictures per second", title=str(results[0]["device"]))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
