"""What a contour followed through a cine says of a heart: areas, volumes, ejection fraction, strain; and its pictures.

Everything takes arrays of one slice, (T, H, W) masks and (T, 2, H, W) fields, or curves of all slices, (S, T). What
could not be measured is nan, and stays nan in whatever is computed from it. For research; not a medical device.
"""

from .contour_length import circumferential_strain, contour_lengths
from .pictures import curve_figure, save_animation
from .strain import StrainCurves, myocardial_ring, strain_curves
from .table import cine_table
from .volumes import VentricularFunction, VolumeCurve, areas, cine_volume, ventricular_function, volume_curve

__all__ = [
    "StrainCurves",
    "VentricularFunction",
    "VolumeCurve",
    "areas",
    "cine_table",
    "cine_volume",
    "circumferential_strain",
    "contour_lengths",
    "curve_figure",
    "myocardial_ring",
    "save_animation",
    "strain_curves",
    "ventricular_function",
    "volume_curve",
]
