"""How well a measurement agrees with a reference, patient by patient: bias, limits of agreement, and their picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

__all__ = ["Agreement", "agreement", "bland_altman_figure"]


@dataclass(frozen=True)
class Agreement:
    """Differences found − reference, in the measurement's own unit.

    Attributes:
        count: pairs that have both values.
        bias, sd: mean and standard deviation (of the sample) of the differences; nan where there are too few.
        mean_absolute_error: mean size of the differences.
        worst: size of the largest difference.
        lower, upper: 95 % limits of agreement, bias ± 1.96 SD (Bland and Altman, The Lancet 1986,
            doi:10.1016/S0140-6736(86)90837-8).
    """

    count: int
    bias: float
    sd: float
    mean_absolute_error: float
    worst: float
    lower: float
    upper: float


def agreement(found: ArrayLike, reference: ArrayLike) -> Agreement:
    """Agreement of two measurements of the same subjects, (N,) each; a subject that lacks one, nan, is left out.

    Raises:
        ValueError: when the two differ in length.
    """
    found, reference = np.asarray(found, float), np.asarray(reference, float)
    if found.shape != reference.shape or found.ndim != 1:
        raise ValueError(f"expected two lists of equal length, got {found.shape} and {reference.shape}")
    differences = (found - reference)[np.isfinite(found) & np.isfinite(reference)]
    if not len(differences):
        return Agreement(0, *[float("nan")] * 6)
    bias = float(differences.mean())
    sd = float(differences.std(ddof=1)) if len(differences) > 1 else float("nan")
    sizes = np.abs(differences)
    return Agreement(len(sizes), bias, sd, float(sizes.mean()), float(sizes.max()), bias - 1.96 * sd, bias + 1.96 * sd)


def bland_altman_figure(found: ArrayLike, reference: ArrayLike, name: str, unit: str) -> Figure:
    """Each subject's difference over its mean of both, with bias and 95 % limits of agreement.

    Args:
        found, reference: (N,), as in :func:`agreement`.
        name, unit: of what was measured.
    """
    found, reference = np.asarray(found, float), np.asarray(reference, float)
    result = agreement(found, reference)
    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.scatter((found + reference) / 2, found - reference, s=22, color="#0072B2")
    axes.axhline(0, color="0.8", linewidth=1)
    lines = (("bias", result.bias, "-"), ("−1.96 SD", result.lower, "--"), ("+1.96 SD", result.upper, "--"))
    for label, value, style in lines:
        if np.isfinite(value):
            axes.axhline(value, color="#D55E00", linestyle=style, linewidth=1)
            axes.annotate(
                f"{label} {value:.1f}",
                (1, value),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=8,
            )
    axes.set(xlabel=f"mean of {name}, followed and drawn, {unit}", ylabel=f"followed − drawn, {unit}")
    axes.set_title(f"{name}: {result.count} patients", fontsize=10)
    return figure
