"""Folders of TFRecord shards, which TensorFlow reads: what they share, whatever is in their records.

What a record holds, and how it becomes a pair, is said by the task: `data.superres` for images, `data.kspace_shards` for
k-space. A folder holds `slices-00000-of-00008.tfrecord` and so on and, written last, the manifest `shards.json`. Records are read
`by_place`, in the order of HDF5 files, or `in_sequence`, without Python as TPUs need it; these modules import TensorFlow and are
imported where the data are streamed.
"""

from .index import Shard, ShardIndex, check_decided, check_unchanged, read_shards, shard_folder, verify_shards
from .kind import ShardKind, Surveyed
from .manifest import Layout
from .writing import write_all

__all__ = ["Layout", "Shard", "ShardIndex", "ShardKind", "Surveyed", "check_decided", "check_unchanged",
           "read_shards", "shard_folder", "verify_shards", "write_all"]
