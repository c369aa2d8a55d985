"""Everything that decides what a run learns: frozen dataclasses, and the only place with defaults.

The same fields make the flags (`--model.latent-dim 64`), the yaml (`model: {latent_dim: 64}`), and the
metadata of the weights. What the hardware decides (processes, precision, backend) is the launcher's.
"""

from dataclasses import dataclass, field
from pathlib import Path

from fes.config.course import (
    AutoencoderStage,
    ClosingStage,
    GanStage,
    OpeningStage,
    Stage,
    StagesConfig,
    StartConfig,
)
from fes.config.learning import Adversary, AugmentConfig, LossConfig, OptimiserConfig
from fes.config.model import ModelConfig
from fes.config.running import ClockConfig, EvaluationConfig, StreamConfig

__all__ = [
    "Adversary",
    "AugmentConfig",
    "AutoencoderStage",
    "ClockConfig",
    "ClosingStage",
    "Config",
    "EvaluationConfig",
    "GanStage",
    "LossConfig",
    "ModelConfig",
    "OpeningStage",
    "OptimiserConfig",
    "Stage",
    "StagesConfig",
    "StartConfig",
    "StreamConfig",
]


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
    init_from: Path | None = None
    """Begin with the networks of another run: its folder, or a snapshot, which has no critics. Its pictures
    may be smaller or have other channels. None: random weights."""
    grow_kimg: float = 50.0
    """With `init_from` of a lower resolution, the kimg in which the blocks of this one fade in."""
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
