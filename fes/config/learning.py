"""What pulls at the networks, how fast they follow, and what is made of few pictures."""

from dataclasses import dataclass
from typing import Literal

Adversary = Literal["wgan-gp", "wgan-gp-one-sided", "r1-non-saturating", "r1-relativistic"]
"""Loss and penalty of the image critic."""


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
    guide_painting: float = 1.0
    """Share of the guide's pull, from 0 to 1, that reaches what is drawn over a source that is bent
    (`model.skip` warp); all of it reaches how it is bent. A guide moves a face well and paints it badly: what
    it likes to paint are marks, so that is left to the critic."""
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
    paint_weight: float = 0.0
    """Pull of masks to be shut where more of a source than `paint_free` is drawn over (`model.skip` mask and
    warp), so that it is where most is won. Without it masks open, and all of a face is redrawn."""
    paint_free: float = 0.15
    """Share of a picture, from 0 to 1, that is drawn over for nothing."""
    strain_weight: float = 0.0
    """How much worse it is, where sources are bent (`model.skip` warp), to move what is next to each other
    apart: in multiples of the mean squared strain, which counts most where a source has edges, and more where
    it changes an area."""
    strain_limit: float | None = None
    """Strain, as a share, where it counts twice, and ever more beyond, sooner at edges: skin stretched so far
    hardly gives way. Much of a face then moves a little, not a mouth too far. None: no limit."""
    feature_weight: float = 0.0
    """Pull towards reconstructions that are like the source in the image critic's feature maps."""
    adversary: Adversary = "wgan-gp"
    """Loss and penalty of the image critic: Wasserstein with a gradient penalty, two-sided or one-sided, or
    the logistic loss of scores or of pairs of them (relativistic), with R1."""
    penalty_weight: float = 10.0
    """Lambda of the gradient penalty of both critics (Gulrajani et al., 2017, use 10); with R1 its gamma."""
    balance: bool = False
    """Weights that set themselves: each term at the picture is rescaled, by 10 at most, so that its smoothed
    pull has the norm that its weight says. Pulls are measured and told in any case."""


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
