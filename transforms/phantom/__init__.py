"""A beating left ventricle in a chest, whose motion is known, and in :mod:`transforms.phantom.volumes` patients in 3-D
who differ by a known deformation: the data of tests and of a first run.

Everything is a smooth function of position, so nothing is interpolated and no truth is an estimate:
the tissue of a slice is painted once, as it lies at ED, and a frame looks it up where the motion says
its pixels came from. Lengths are in mm and points are arrays of shape (2, ...), (row, column), measured
from the middle of the LV at ED, unless a docstring says pixels.
"""

from .folders import seed_of_patient
from .heart import PATHOLOGIES, Phantom
from .scd_files import write_scd
from .volumes import VolumePhantom, write_volumes

__all__ = ["PATHOLOGIES", "Phantom", "VolumePhantom", "seed_of_patient", "write_scd", "write_volumes"]
