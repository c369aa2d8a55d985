"""Everything that decides what a run learns: frozen dataclasses, and the only place with defaults.

The same fields make the flags (`--model.latent-dim 64`), the yaml (`model: {latent_dim: 64}`), and the
metadata of the weights. What the hardware decides (processes, precision, backend) is the launcher's.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Adversary = Literal["wgan-gp", "wgan-gp-one-sided", "r1-non-saturating", "r1-relativistic"]
"""Loss and penalty of the image critic."""
Stage = Literal["autoencoder", "gan", "opening", "joint"]
"""Which terms a step trains: encoder and generator against the latent critic, the generator against the image
critic with codes from the prior, everything with what holds on to the source let go, or everything."""


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the four networks."""

    resolution: int | None = None
    """Height and width of the pictures in pixels: 48 or 64 times a power of two. None: the largest that
    nine of ten pictures of each data set have or exceed, so that few are enlarged."""
    channels: int | None = None
    """1 for grey, 3 for RGB. None: RGB where all data are in colour, else grey."""
    latent_dim: int = 64
    """Length of the code z that stands for a person."""
    max_features: int = 256
    """Feature maps at the coarsest resolution (3 or 4 pixels); halved at each doubling of it."""
    min_features: int = 32
    """Feature maps are never fewer than this, however fine the resolution."""
    latent_critic_features: int = 256
    """Width of the two hidden layers of the latent critic."""
    blocks: Literal["strided", "residual"] = "strided"
    """What encoder, generator and image critic are made of: one convolution with a stride at each resolution,
    as the original; or two beside the identity, from the picture's own resolution on, ten times as slow."""
    skip: Literal["none", "features", "residual", "mask"] = "none"
    """What reaches the generator besides z: nothing, as in the original; the encoder's feature maps; or these
    and the source, which is then changed (residual) or partly drawn over (mask)."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms, in one unit: the norm of a term's gradient per sample.

    A critic that obeys its penalty pulls at each synthesised picture with a gradient of norm about 1, at any
    resolution, and the reconstruction error is scaled to pull with exactly 1 (a mean absolute error of n
    values pulls with 1/sqrt(n): its usual weight 10 means 0.2 at 48 px and 0.04 at 256). Weights compare
    the terms directly, and a set of weights found at 48 px holds at 256.
    """

    reconstruction_weight: float = 2.0
    """Pull towards the source picture, in multiples of the image critic's at weight 1."""
    image_weight: float = 1.0
    """Pull towards pictures that the image critic takes for real ones of the asked class."""
    latent_weight: float = 0.2
    """Pull of the codes towards the prior. It acts on z, where the other terms arrive with norms of a few
    hundredths: 1 drowns them, 0.05 leaves the codes far from the prior for long."""
    expression_weight: float = 0.0
    """Pull towards pictures whose expression the image critic's head reads as asked (AC-GAN). The head learns
    to read on real pictures; at 0 there is none."""
    guide_weight: float = 0.0
    """Pull towards pictures whose expression the guide (`start.guide`) reads as asked."""
    guide_margin: float | None = None
    """Pull a changed face only until the guide finds what is asked in it more clearly than in the partner, a
    real face of that class, by so many nats of cross entropy. None: always, until faces are caricatures."""
    guide_clear: float | None = None
    """With a margin, pull until the guide's error is below this as well, in nats."""
    guide_limit: float | None = None
    """Most that the guide pulls at any one face, before its weight, where a critic pulls with about 1."""
    guide_noise: float | None = None
    """Most noise through which the guide looks, a standard deviation. None: what it was trained with."""
    cycle_weight: float = 0.0
    """Pull towards changed faces that, changed back, are the source again."""
    return_weight: float = 0.0
    """Pull of what is drawn from changed faces, with the expression of their source, towards the source. The
    changed faces are taken as they are and not pulled themselves, as in back-translation (Lample et al.,
    2018): the network learns what a real face of that expression looks like, and gains nothing by hiding the
    source in the changed face, as it does by `cycle_weight`."""
    consistency_weight: float = 0.0
    """Pull towards changed faces with the code of their source."""
    light_weight: float = 0.0
    """Pull of changed faces towards the light of their source, the means of 4x4 blocks: classes of collected
    pictures differ in light too."""
    feature_weight: float = 0.0
    """Pull towards reconstructions that are like the source in the image critic's feature maps."""
    adversary: Adversary = "wgan-gp"
    """Loss and penalty of the image critic: Wasserstein with a gradient penalty, two-sided or one-sided, or
    the logistic loss of scores or of pairs of them (relativistic), with R1."""
    penalty_weight: float = 10.0
    """Lambda of the gradient penalty of both critics (Gulrajani et al., 2017, use 10); with R1 its gamma."""
    balance: bool = False
    """Weights that set themselves: each term is rescaled, by 10 at most, so that its smoothed pull has the
    norm that its weight says. Pulls are measured and told in any case."""


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam, for both players."""

    critic_rate: float = 5e-4
    """Learning rate of the two critics."""
    autoencoder_rate: float = 5e-4
    """Learning rate of encoder and generator."""
    beta1: float = 0.0
    """Decay of the mean of the gradients; WGAN-GP wants none."""
    beta2: float = 0.9
    """Decay of the mean of the squared gradients."""
    max_gradient_norm: float | None = None
    """A player's gradients, as one vector, are shortened to this length. None: left as they are."""


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
    guide_weight: float | None = None
    """In place of the loss's."""
    critic_rate: float | None = None
    """In place of the optimiser's."""
    autoencoder_rate: float | None = None
    """In place of the optimiser's."""


@dataclass(frozen=True)
class StagesConfig:
    """Training parts before all of them together. Each begins with the weights of the one before and with
    optimisers that know nothing."""

    autoencoder: AutoencoderStage = field(default_factory=AutoencoderStage)
    gan: GanStage = field(default_factory=GanStage)
    opening: OpeningStage = field(default_factory=OpeningStage)


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


@dataclass(frozen=True)
class StreamConfig:
    """How batches reach the trainer. Nothing here changes which samples a batch holds, but that with
    `on_bad_sample` skip others stand in for the damaged ones. A run may change all of it when it goes on."""

    workers: int = 2
    """Processes per rank that read ahead; 0 reads in the trainer itself."""
    cache: Path | None = None
    """Folder for a file of decoded pictures that all ranks of a machine share. None: decode each time."""
    on_bad_sample: Literal["fail", "skip"] = "fail"
    """At a damaged picture: end the run (fail), or count it and take another sample (skip). A shard that
    cannot be fetched or read ends the run in any case."""
    most_bad_samples: int = 100
    """The run ends once more than this many different samples were skipped, by all ranks and since the
    command began; the progress (data/skipped) counts a sample each time it is skipped."""
    patience: float = 60.0
    """Seconds without a batch after which each rank tells what it waits for; told again at twice that."""
    shards: Path | None = None
    """Folder for shards that are fetched from elsewhere. None: fes/shards in $XDG_CACHE_HOME or ~/.cache."""
    shards_gb: float = 20.0
    """What that folder may hold, in units of 10^9 bytes."""


@dataclass(frozen=True)
class AugmentConfig:
    """Making more of few pictures."""

    flips: bool = False
    """Mirror half of the pictures, left to right."""
    class_balance: float = 0.0
    """How evenly classes are drawn, from 0 (as the data have them) to 1 (all equally often): a class of n
    samples in proportion to n ** (1 - balance). Unlabelled ones keep their share."""
    strength: float = 0.0
    """Chance, from 0 to 1, of each random change (brightness, saturation, contrast, shift, a hole) to what
    the image critic sees, real and synthesised alike. With `adapt_kimg` the strength to begin with."""
    adapt_kimg: float | None = None
    """The strength follows how far the image critic knows its training pictures by heart, and goes from 0 to
    1 in so many kimg at the fastest (Karras et al., 2020, use 500). None: it stays as it is."""


@dataclass(frozen=True)
class ClockConfig:
    """What happens when, in kimg: thousands of real pictures drawn, each batch counted once. Nothing here
    changes what a step learns."""

    total_kimg: float = 2000.0
    """Length of the run."""
    tick_kimg: float = 2.0
    """Between two lines of measurements."""
    snapshot_kimg: float = 50.0
    """Between two snapshots (the averaged weights in one file, with a grid of pictures)."""
    state_kimg: float = 50.0
    """Between two states (everything that is needed to go on; the last two are kept)."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Measuring each snapshot on held-out faces; best.safetensors is the one with the highest score. Nothing
    here changes what a step learns."""

    judge: Path | None = None
    """A judge made by 'fes judge train'. None: snapshots are not measured."""
    second_judge: Path | None = None
    """Another judge, better of another kind and seed: what fools the first shows by it."""
    data: Path | None = None
    """Folder of shards whose held-out faces are drawn, those of valid first. None: the run's own data."""
    faces: int = 200
    """Most faces to draw, each with all seven expressions."""
    seconds: float = 60.0
    """Seconds for each snapshot, after which no more faces are begun. All ranks wait as long."""


@dataclass(frozen=True)
class Config:
    """A training run."""

    data: str
    """Folder or address of shards, built by fes-shards; or several with the weights they are drawn with, 1
    where none is given: `data/fer2013:0.5,data/tfd:0.3,https://host/celeba:0.2`."""
    run: Path
    """Folder for what the run produces. Where it holds a state, the run goes on from it."""
    seed: int = 0
    """Decides the first weights, the order of the samples and every random draw."""
    batch: int = 32
    """Pictures per batch, summed over all ranks."""
    critic_steps: int = 5
    """Updates of the critics for each update of the autoencoder; each takes a batch of its own."""
    ema_halflife_kimg: float = 20.0
    """Half-life of the moving average of the weights; shorter at first (a twentieth of what was seen)."""
    shuffle_window: int = 16384
    """Samples that are shuffled among each other; shards are shuffled as a whole."""
    grid_faces: int = 8
    """Rows of the picture grid: held-out faces, each with its seven expressions."""
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    stages: StagesConfig = field(default_factory=StagesConfig)
    start: StartConfig = field(default_factory=StartConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    clock: ClockConfig = field(default_factory=ClockConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
