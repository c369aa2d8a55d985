"""What a run would do, told before it does it."""

import yaml

from fes.config import Config, to_tree
from fes.networks import Networks, parameter_count
from fes.stream import share_of
from shards.index import ShardIndex


def describe(config: Config, index: ShardIndex, ranks: int) -> str:
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
    for name in index.splits:
        split = index.split(name)
        lines.append(f"{name}: {split.samples:,} samples in {len(split.shard_names)} shards")
    lines += [f"warning: {warning}" for warning in warnings_about(index)]
    return "\n".join(lines)


def warnings_about(index: ShardIndex) -> list[str]:
    """What can be trained on, but hardly as meant: a sentence each."""
    empty = [name for name, count in index.counts("train").items() if count == 0 and name != "unlabelled"]
    if not empty:
        return []
    return [f"{index.folder} has no training sample of {', '.join(empty)}: it cannot be learnt from nothing"]
