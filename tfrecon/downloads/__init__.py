"""What comes over the network: servers asked within a second, files of known content, Kaggle's and the Hub's clients.

Nothing here runs unless somebody names an address; the clients are imported when they are used.
"""

from .pinned import Pinned, cache_folder, cached_path, pinned_file
from .reach import silence

__all__ = ["Pinned", "cache_folder", "cached_path", "pinned_file", "silence"]
