"""Training: an energy, an objective and rows give trained weights.

Imports what is below it: tools to objectives, normalizers and metrics.
"""

from sk_wmvl.training.averaging import WeightAverage
from sk_wmvl.training.batches import BatchIterator, TensorData, make_data
from sk_wmvl.training.callbacks import Checkpoint, FitProgress, SklearnBridge
from sk_wmvl.training.net import TrainingNet
from sk_wmvl.training.optimizers import OPTIMIZERS, limit_threads, make_optimizer
from sk_wmvl.training.task import BaseTask, ObjectiveTask

__all__ = [
    "OPTIMIZERS",
    "BaseTask",
    "BatchIterator",
    "Checkpoint",
    "FitProgress",
    "ObjectiveTask",
    "SklearnBridge",
    "TensorData",
    "TrainingNet",
    "WeightAverage",
    "limit_threads",
    "make_data",
    "make_optimizer",
]
