"""What a run begins with, its stages before everything together, and how it ends."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Stage = Literal["autoencoder", "gan", "opening", "joint", "closing"]
"""Which terms a step trains: encoder and generator against the latent critic, the generator against the image
critic with codes from the prior, everything with what holds on to the source let go, everything, or
everything with the weights that a run ends with."""


@dataclass(frozen=True)
class AutoencoderStage:
    """The first stage: encoder and generator alone, against the latent critic. None: as in the run."""

    kimg: float = 0.0
    """Length of the stage; 0: there is none."""
    reconstruction_weight: float | None = None
    """In place of the loss's."""
    latent_weight: float | None = None
    """In place of the loss's."""
    critic_rate: float | None = None
    """In place of the optimiser's."""
    autoencoder_rate: float | None = None
    """In place of the optimiser's."""


@dataclass(frozen=True)
class GanStage:
    """The second stage: the generator alone, with codes from the prior, against the image critic."""

    kimg: float = 0.0
    """Length of the stage; 0: there is none."""
    image_weight: float | None = None
    """In place of the loss's."""
    expression_weight: float | None = None
    """In place of the loss's."""
    guide_weight: float | None = None
    """In place of the loss's."""
    critic_rate: float | None = None
    """In place of the optimiser's."""
    autoencoder_rate: float | None = None
    """In place of the optimiser's."""


@dataclass(frozen=True)
class OpeningStage:
    """The third stage: everything, but for the terms that a copy of the source pleases most. With them from
    the start, a network with a skip copies for long before it dares to change anything."""

    kimg: float = 0.0
    """Length of the stage; 0: there is none."""
    cycle_weight: float | None = 0.0
    """In place of the loss's. None: the loss's."""
    return_weight: float | None = 0.0
    """In place of the loss's. None: the loss's."""
    consistency_weight: float | None = 0.0
    """In place of the loss's. None: the loss's."""
    light_weight: float | None = 0.0
    """In place of the loss's. None: the loss's."""
    image_weight: float | None = None
    """In place of the loss's."""
    guide_weight: float | None = None
    """In place of the loss's."""
    critic_rate: float | None = None
    """In place of the optimiser's."""
    autoencoder_rate: float | None = None
    """In place of the optimiser's."""


@dataclass(frozen=True)
class ClosingStage:
    """The last stage: everything, with weights and rates of its own, to the end of the run. Faces may become
    like photographs first, and their expressions clearer then, where a strong guide does less harm; or
    expressions first, and natural then, with a gentle guide that may not paint, and with strain."""

    from_kimg: float | None = None
    """When it begins; where the run ends before, never. None: there is none."""
    image_weight: float | None = None
    """In place of the loss's."""
    guide_weight: float | None = None
    """In place of the loss's."""
    guide_clear: float | None = None
    """In place of the loss's."""
    guide_painting: float | None = None
    """In place of the loss's."""
    light_weight: float | None = None
    """In place of the loss's."""
    paint_weight: float | None = None
    """In place of the loss's."""
    paint_free: float | None = None
    """In place of the loss's."""
    strain_weight: float | None = None
    """In place of the loss's."""
    strain_limit: float | None = None
    """In place of the loss's."""
    critic_rate: float | None = None
    """In place of the optimiser's."""
    autoencoder_rate: float | None = None
    """In place of the optimiser's."""


@dataclass(frozen=True)
class StagesConfig:
    """Training parts before all of them together, and other weights at the end. Each stage begins with the
    networks of the one before and with optimisers that know nothing."""

    autoencoder: AutoencoderStage = field(default_factory=AutoencoderStage)
    gan: GanStage = field(default_factory=GanStage)
    opening: OpeningStage = field(default_factory=OpeningStage)
    closing: ClosingStage = field(default_factory=ClosingStage)


@dataclass(frozen=True)
class StartConfig:
    """Networks to begin with, instead of random ones: each a .safetensors file that holds it, or the folder
    of a run: its newest snapshot, or for the critics its newest state."""

    encoder: Path | None = None
    """A file with an encoder, or a run, whose newest snapshot has one. None: random weights."""
    generator: Path | None = None
    """A file with a generator, or a run, whose newest snapshot has one. None: random weights."""
    latent_critic: Path | None = None
    """A file with a latent critic, or a run, whose newest state has one. None: random weights."""
    image_critic: Path | None = None
    """A file with an image critic, or a run, whose newest state has one. None: random weights."""
    guide: Path | None = None
    """A classifier of real faces that pulls as `loss.guide_weight` says and is not trained: made by
    'fes judge train --noise 0.5', with another seed than the judge. None: there is none."""
