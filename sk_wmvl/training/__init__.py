"""Training: an energy, an objective and rows give trained weights.

Imports what is below it: tools to objectives, normalizers and metrics.
"""

from sk_wmvl.training.averaging import WeightAverage
from sk_wmvl.training.batches import BatchIterator, TensorData, make_datasets
from sk_wmvl.training.net import OPTIMIZERS, ObjectiveNet, limit_threads

__all__ = [
    "OPTIMIZERS",
    "BatchIterator",
    "ObjectiveNet",
    "TensorData",
    "WeightAverage",
    "limit_threads",
    "make_datasets",
]
