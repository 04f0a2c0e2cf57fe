"""Handlers for Ignite's engines: checkpoints, progress, scores, pictures and result files."""

from .checkpoints import TrainingState, load_weights, prepare_run
from .pictures import QuantilePictures, RegistrationPictures, picture
from .progress import Progress
from .results import RegistrationWriter
from .scores import MeanScore, RegistrationTable, lumen_dice, registration_loss, similarity

__all__ = [
    "MeanScore",
    "Progress",
    "QuantilePictures",
    "RegistrationPictures",
    "RegistrationTable",
    "RegistrationWriter",
    "TrainingState",
    "load_weights",
    "lumen_dice",
    "picture",
    "prepare_run",
    "registration_loss",
    "similarity",
]
