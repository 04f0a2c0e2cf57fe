"""Handlers for Ignite's engines: checkpoints, progress, scores, pictures and result files."""

from .checkpoints import TrainingState, check_run, load_network, load_weights
from .pictures import (
    QuantilePictures,
    RegistrationPictures,
    picture,
    row_of_registration,
    save_picture,
    window_around,
)
from .progress import Progress
from .results import RegistrationWriter
from .scores import MeanScore, RegistrationTable, lumen_dice, registration_loss, similarity
from .validation import IntervalValidation

__all__ = [
    "IntervalValidation",
    "MeanScore",
    "Progress",
    "QuantilePictures",
    "RegistrationPictures",
    "RegistrationTable",
    "RegistrationWriter",
    "TrainingState",
    "check_run",
    "load_network",
    "load_weights",
    "lumen_dice",
    "picture",
    "registration_loss",
    "row_of_registration",
    "save_picture",
    "similarity",
    "window_around",
]
