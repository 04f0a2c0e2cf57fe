"""What is normal, as healthy people were measured; only figures that stand in a text that could be read."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NORMAL", "SOURCES", "Normal"]


@dataclass(frozen=True)
class Normal:
    """Of one number, mean and standard deviation of healthy men and women.

    Attributes:
        men, women: (mean, SD).
        source: index into :data:`SOURCES`.
        digits: after the decimal point, as the source has them.
    """

    men: tuple[float, float]
    women: tuple[float, float]
    source: int
    digits: int = 0

    def said(self, sex: str | None) -> list[str]:
        """Mean ± 2 SD for "M" or "F", such as ["48–68"]; where the sex is unknown of both, each with its letter."""
        if sex is None:
            return [f"M {self._range(self.men)}", f"F {self._range(self.women)}"]
        return [self._range(self.men if sex == "M" else self.women)]

    def _range(self, figures: tuple[float, float]) -> str:
        mean, deviation = figures
        return f"{mean - 2 * deviation:.{self.digits}f}–{mean + 2 * deviation:.{self.digits}f}"


SOURCES = (
    "Petersen et al., J Cardiovasc Magn Reson 2017;19:18, doi:10.1186/s12968-017-0327-9, abstract: UK Biobank, 804 "
    "people of 45 to 74 years; papillary muscles are counted as cavity",
    "Hudsmith et al., J Cardiovasc Magn Reson 2005;7:775, doi:10.1080/10976640500295516, abstract: 108 volunteers of "
    "21 to 68 years; papillary muscles are counted as wall",
    "Kawel-Boehm et al., J Cardiovasc Magn Reson 2015;17:29, pooled studies, as quoted in Cardiovasc Diagn Ther "
    "2020;10:1918, doi:10.21037/cdt-20-530, table 3",
    "Kawel et al., Circ Cardiovasc Imaging 2012;5:500, doi:10.1161/CIRCIMAGING.112.973560, abstract: MESA, 300 people "
    "of 66 ± 9 years; short axis, mid-cavity, end-diastole",
)

NORMAL = {
    "ejection_fraction_percent": Normal((58, 5), (61, 5), 0),
    "myocardial_mass_index_g_per_m2": Normal((53, 9), (42, 7), 0),
    "end_diastolic_volume_ml": Normal((160, 29), (135, 26), 1),
    "end_systolic_volume_ml": Normal((50, 16), (42, 12), 1),
    "rv_end_diastolic_volume_ml": Normal((190, 33), (148, 35), 1),
    "rv_end_systolic_volume_ml": Normal((78, 20), (56, 18), 1),
    "end_diastolic_volume_index_ml_per_m2": Normal((81, 12), (76, 10), 2),
    "end_systolic_volume_index_ml_per_m2": Normal((26, 6), (24, 5), 2),
    "stroke_volume_index_ml_per_m2": Normal((54, 6), (52, 7), 2),
    "mid_wall_thickness_end_diastole_mm": Normal((6.3, 1.1), (5.3, 0.9), 3, 1),
}
"""By the name of the number, see :func:`.numbers.numbers_of`."""
