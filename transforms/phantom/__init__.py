"""A beating left ventricle in a chest, whose motion is known: the data of tests and of a first run.

Everything is a smooth function of position, so nothing is interpolated and no truth is an estimate:
the tissue of a slice is painted once, as it lies at ED, and a frame looks it up where the motion says
its pixels came from. Lengths are in mm and points are arrays of shape (2, ...), (row, column), measured
from the middle of the LV at ED, unless a docstring says pixels.
"""

from .heart import PATHOLOGIES, Phantom
from .scd_files import seed_of_patient, write_scd

__all__ = ["PATHOLOGIES", "Phantom", "seed_of_patient", "write_scd"]
