"""How an encoder is adapted to a task: how long, how fast, and which part of it learns."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import Fatal


@dataclass(frozen=True)
class Recipe:
    """`blr` is the learning rate for a batch of 256, `layer_decay` what each layer below the head has less of it.

    `frozen` is the share of the epochs, from the first, in which the encoder does not learn; `warmup` the share of the
    steps in which the rate rises; half a cosine follows. `smoothing` is that of the labels.
    """

    epochs: int = 100
    batch_size: int = 64
    blr: float = 2e-4
    weight_decay: float = 0.3
    betas: tuple[float, float] = (0.9, 0.999)
    layer_decay: float = 0.9
    drop_path: float = 0.1
    smoothing: float = 0.2
    frozen: float = 0.0
    warmup: float = 0.0
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        problem = next((text for test, text in _refusals(self) if test), None)
        if problem:
            raise Fatal(f"finetune.{problem}.")


def _refusals(recipe: Recipe) -> list[tuple[bool, str]]:
    shares = [name for name in ("drop_path", "smoothing", "frozen", "warmup") if not 0 <= getattr(recipe, name) <= 1]
    return [
        (recipe.epochs < 1 or recipe.batch_size < 1, "epochs and batch_size must be at least 1"),
        (recipe.blr <= 0, f"blr must be positive, not {recipe.blr}"),
        (not 0 < recipe.layer_decay <= 1, f"layer_decay must be above 0 and at most 1, not {recipe.layer_decay}"),
        (bool(shares), f"{shares[0] if shares else ''} is a share between 0 and 1"),
        (recipe.drop_path == 1 or recipe.smoothing == 1 or recipe.warmup == 1, "a share of 1 leaves nothing to learn"),
        (recipe.seed < 0, "seed must not be negative"),
        (recipe.device not in ("auto", "cpu", "cuda"), f"device is auto, cpu or cuda, not {recipe.device!r}"),
    ]


# The published protocol of GEO-Bench: fine-tuning, a linear probe of the same length, and segmentation with a UNet
# whose encoder joins in after a quarter of the epochs.
RECIPES: dict[str, Recipe] = {
    "full": Recipe(),
    "linear": Recipe(frozen=1.0, drop_path=0.0),
    "dense": Recipe(epochs=200, batch_size=32, blr=1e-2, smoothing=0.0, frozen=0.25),
}
