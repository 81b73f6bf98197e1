"""Images and trained networks, and what can happen to images.

In: a name. Out: an `ImageData` with disjoint parts, or a network. A new set goes to `sets` (or, if
it must be downloaded, `full_sets`), a new corruption to `shifts`, with its five severities.
"""

from deepdrift.lab.data.full_sets import DataFileError
from deepdrift.lab.data.images import ImageData, ImageSet
from deepdrift.lab.data.sets import (
    NETWORK_LAYERS,
    data_folder,
    load,
    load_network,
    load_ood,
    shipped,
)

__all__ = [
    "NETWORK_LAYERS",
    "DataFileError",
    "ImageData",
    "ImageSet",
    "data_folder",
    "load",
    "load_network",
    "load_ood",
    "shipped",
]
