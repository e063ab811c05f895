"""What the flow prior works on: small pictures, their measurement by several coils, and the seed's knee set."""

from .knees import bit_scale, prepare_knees, resize_area, resize_nearest
from .pictures import picture_batches, to_picture
from .problems import PictureProblem, evenly, knee_pictures, measured_pictures

__all__ = ["PictureProblem", "bit_scale", "evenly", "knee_pictures", "measured_pictures", "picture_batches", "prepare_knees",
           "resize_area", "resize_nearest", "to_picture"]
