"""The models that can be trained, and how. What differs between them is here and nowhere else."""

from __future__ import annotations

import dataclasses

from .nets import TinyConfig


@dataclasses.dataclass(frozen=True)
class Size:
    config: TinyConfig
    stages: tuple[str, ...]  # in order
    pictures: tuple[tuple[int, int], ...]  # (height, width); the first is what most steps draw
    scenes: int  # encoded for training, of the first size; an eighth of that of each other
    batch: int
    captions: int  # held-out ones that evaluate draws
    steps: dict[str, float]
    seconds: dict[str, float]
    rates: dict[str, float]
    decay: dict[str, float]  # of the average of the weights
    full: dict[str, float]  # share of the stage at the pipelines' full text length and all picture sizes
    path_batch: tuple[int, int]  # teacher trajectories at once: of the first size, of others
    every: int  # steps between two lines of the log
    rich: bool = False  # materials in the scenes
    based: bool = False  # tokenizer, text encoder and autoencoder come from a finished model and stay as they are
    graphs: bool = True  # steps replayed as CUDA graphs; for large steps it gains nothing and takes memory


TINY = Size(
    config=TinyConfig(),
    stages=("vae", "flow", "distil", "evaluate", "export"),
    pictures=((256, 256), (192, 320), (320, 192), (384, 384)),
    scenes=49152,
    batch=256,
    captions=256,
    steps={"vae": 2400, "flow": 6800, "distil": 900},
    seconds={},
    rates={"vae": 2e-3, "flow": 1.5e-3, "distil": 5e-4},
    decay={"flow": 0.998, "distil": 0.995},
    full={"flow": 0.35, "distil": 1.0},
    path_batch=(256, 256),
    every=200,
)

MINI = Size(
    config=TinyConfig(hidden=1024, double_blocks=2, single_blocks=6, text_rows=96),
    stages=("flow", "distil", "export", "evaluate"),
    pictures=((256, 256), (384, 384), (512, 512), (320, 192)),
    scenes=32768,
    batch=128,
    captions=128,
    steps={"flow": 100_000, "distil": 100_000},
    seconds={"flow": 225, "paths": 40, "distil": 70},
    rates={"flow": 2e-3, "distil": 5e-4},
    decay={"flow": 0.99, "distil": 0.98},
    full={"flow": 0.3, "distil": 0.4},
    path_batch=(128, 32),
    every=50,
    rich=True,
    based=True,
    graphs=False,
)

SIZES = {"tiny": TINY, "mini": MINI}


def smoke(size: Size) -> Size:
    """The same in a handful of steps on small pictures; a large model is made narrower."""
    config = size.config
    if size.based:
        config = dataclasses.replace(config, hidden=256, double_blocks=1, single_blocks=2)
    return dataclasses.replace(
        size, config=config, pictures=((64, 64), (64, 96)), scenes=8, batch=4, captions=2, seconds={},
        steps={stage: 4 for stage in size.steps},
    )  # fmt: skip
