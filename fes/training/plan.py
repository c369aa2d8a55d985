"""What a run would do, told before it does it."""

import yaml

from fes.config import Config, ModelConfig
from fes.config.tree import to_tree
from fes.data.mixture import Mixture
from fes.data.stream import share_of
from fes.expressions import EXPRESSIONS
from fes.model.networks import Networks, parameter_count
from shards.index import ShardIndex


def describe(config: Config, mixture: Mixture, ranks: int) -> str:
    """The resolved config, the size of each network, and what each rank reads.

    Raises:
        InputError: the ranks cannot share a batch equally.
    """
    share = share_of(config.batch, 0, ranks)
    networks = Networks(config.model, config.seed)
    lines = [yaml.safe_dump(to_tree(config), sort_keys=False).rstrip(), ""]
    for name, network in networks.named_children():
        lines.append(f"{name:<14}{parameter_count(network):>12,} parameters")
    lines.append(f"{'all':<14}{parameter_count(networks):>12,} parameters")
    lines += ["", f"processes {ranks}, pictures per process and batch {share.stop - share.start}"]
    for index, weight in zip(mixture.sets, mixture.weights, strict=True):
        lines += ["", *_description(index, weight)]
    warnings = [f"warning: {warning}" for warning in warnings_about(mixture, config.model)]
    lines += ["", *warnings] if warnings else []
    return "\n".join(lines)


def _description(index: ShardIndex, weight: float) -> list[str]:
    colour = "grey" if index.channels == 1 else "RGB"
    lines = [f"{index.place}: {weight:.1%} of the pictures drawn, {index.resolution} px, {colour}"]
    for name in index.splits:
        split = index.split(name)
        lines.append(f"{name}: {split.samples:,} samples in {len(split.shards)} shards")
    return lines


def warnings_about(mixture: Mixture, model: ModelConfig) -> list[str]:
    """What can be trained on, but hardly as meant: a sentence each; `model` has resolution and channels."""
    warnings = []
    for index in mixture.sets:
        if index.resolution < model.resolution:
            sizes = f"{index.resolution} px and are enlarged to {model.resolution}"
            warnings.append(f"pictures of {index.place} have {sizes}: that makes them larger, not sharper")
        if index.channels < model.channels:
            warnings.append(f"pictures of {index.place} are grey: as RGB their three channels are equal")
    counts = mixture.counts("train")
    empty = [name for name in EXPRESSIONS if counts[name] == 0]
    if empty:
        missing = f"{mixture.place} has no training sample of {', '.join(empty)}"
        warnings.append(f"{missing}: it cannot be learnt from nothing")
    return warnings
