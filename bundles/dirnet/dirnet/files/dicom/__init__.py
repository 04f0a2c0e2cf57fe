"""Results as DICOM objects, which find their place beside the images they were made of."""

from .derived import write_derived_series
from .registration import read_deformable_registration, write_deformable_registration
from .segmentation import write_segmentation
from .structure_set import write_structure_set

__all__ = [
    "read_deformable_registration",
    "write_deformable_registration",
    "write_derived_series",
    "write_segmentation",
    "write_structure_set",
]
