"""Single-coil k-space in TFRecord shards: the pairs that `masked_pairs` makes of the files.

A mask that follows the rule is not in the records: it is drawn when they are read, so that one conversion serves every
acceleration. `records` imports TensorFlow and is imported where the data are streamed.
"""

from .volumes import index_kspace_shards, index_masked
from .writing import write_kspace_shards

__all__ = ["index_kspace_shards", "index_masked", "write_kspace_shards"]
