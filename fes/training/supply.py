"""What the steps of a run work on, on one rank: batches, noise, and what held-out pictures tell."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from fes.batch import Batch
from fes.config import Config
from fes.data.decoded import DecodedSplit, decode_to
from fes.data.mixture import Mixture
from fes.data.reading import Samples
from fes.data.stream import Stream, share_of
from fes.draws import Noise, noise
from fes.errors import InputError
from fes.learning.dials import Dials
from fes.learning.objectives import CriticObjective, Measurements
from fes.learning.stages import stage_at
from fes.machine import cores
from fes.model.networks import Networks
from fes.report import progress
from fes.runtime.player import in_pieces
from fes.runtime.processes import Runtime


def decoded(config: Config, mixture: Mixture, runtime: Runtime) -> list[Samples]:
    """The training split of each data set, through a shared file of decoded pictures if so configured."""
    resolution, channels = config.model.resolution, config.model.channels
    parts = mixture.parts(resolution, channels)
    if config.stream.cache is None:
        return parts
    shape = (channels, resolution, resolution)
    names = [f"{each.fingerprint[:16]}-train-{resolution}x{channels}.uint8" for each in mixture.sets]
    paths = [config.stream.cache / name for name in names]
    if runtime.is_first_here:
        for path, part in zip(paths, parts, strict=True):
            with progress(f"decoding {part.place}", "images") as tell:
                decode_to(
                    path,
                    part,
                    shape,
                    workers=cores(),
                    on_bad_sample=config.stream.on_bad_sample,
                    progress=tell,
                )
    runtime.wait()
    return [DecodedSplit(part, path, shape) for path, part in zip(paths, parts, strict=True)]


def stream_for(config: Config, mixture: Mixture, runtime: Runtime) -> Stream:
    """This rank's share of the training batches; raises `InputError` where ranks cannot share them."""
    share_of(config.batch, runtime.rank, runtime.ranks)  # before anything long begins
    return _stream(
        config,
        runtime,
        decoded(config, mixture, runtime),
        weights=mixture.weights,
        flips=config.augment.flips,
        class_balance=config.augment.class_balance,
    )


def _stream(config: Config, runtime: Runtime, parts: Sequence[Samples], **more: Any) -> Stream:
    return Stream(
        parts,
        seed=config.seed,
        batch=config.batch,
        window=config.shuffle_window,
        rank=runtime.rank,
        ranks=runtime.ranks,
        on_bad_sample=config.stream.on_bad_sample,
        **more,
    )


def held_out_for(
    config: Config, mixture: Mixture, runtime: Runtime, networks: Networks, dials: Dials
) -> Callable[[int], Tensor] | None:
    """Step -> the image critic's gap on this rank's share of a held-out batch, where a dial needs it.

    Raises:
        InputError: it does, and there is no held-out split.
    """
    if not dials.adapts:
        return None
    parts = mixture.held_out(("valid", "test"), config.model.resolution, config.model.channels)
    if not parts:
        raise InputError(
            f"{mixture.place} has no valid or test split, which --augment.adapt-kimg needs to see how far "
            "the image critic knows its training pictures by heart: leave it out, and give --augment.strength"
        )
    stream = _stream(config, runtime, parts)
    noise_of = noise_for(config, runtime)

    def gap(step: int) -> Tensor:
        pictures = runtime.waited(partial(stream.__getitem__, step))
        batch = Batch(*(runtime.moved(part) for part in pictures))
        critics = CriticObjective(networks, config.loss, dials, stage_at(config, step))

        def of_piece(piece: Batch, its_noise: Noise, *_: object) -> Measurements:
            return {"gap": critics.image_gap(piece, its_noise)}

        return in_pieces(batch, noise_of(step), runtime.hardware.micro_batch, of_piece)["gap"]

    return gap


def noise_for(config: Config, runtime: Runtime) -> Callable[[int], Noise]:
    """Step -> this rank's share of its noise, on the device."""
    share = share_of(config.batch, runtime.rank, runtime.ranks)

    def of(step: int) -> Noise:
        drawn = noise(config.seed, step, config.batch, config.model.latent_dim, share)
        return Noise(*(runtime.moved(part) for part in drawn))

    return of
