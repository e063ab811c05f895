"""What doing nothing scores on validation data."""

from __future__ import annotations

from typing import Any


def baseline_ssim(dataset: Any, magnitude: Any = lambda images: images, do_nothing: Any = lambda images: images) -> float:
    """Mean SSIM of the inputs themselves, or what `do_nothing` makes of them, over the slices of a dataset with data ranges;
    empty volumes do not count.
    """
    import numpy as np

    from ..errors import DataError
    from ..losses import ssim_per_image

    scores: list[float] = []
    for image, target, facts in dataset:
        found = np.asarray(ssim_per_image(magnitude(target), magnitude(do_nothing(image)), facts["data_range"]))
        scores += found[facts["data_range"].numpy() > 0].tolist()
    if not scores:
        raise DataError("Every target of the validation data is zero everywhere; nothing can be judged. Give other data.")
    return float(np.mean(scores))
