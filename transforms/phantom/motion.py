"""Where the tissue of a slice goes in a heartbeat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def turn(points: np.ndarray, angle: float | np.ndarray) -> np.ndarray:
    """Turns points about the origin by an angle in radians, from the row axis towards the column axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * points[0] - sin * points[1], sin * points[0] + cos * points[1]])


def direction(angle: float | np.ndarray) -> np.ndarray:
    """Unit vectors (2, ...), from the column axis (patient's left, on the right) towards the row axis."""
    return np.stack([np.sin(angle), np.cos(angle)])


@dataclass(frozen=True)
class Motion:
    """Where the tissue of one slice goes: between its place at a phase and its place at ED.

    A pull of the whole heart, then a twist, then a contraction that takes the squared radius p to
    p + contraction · rise(p) · fade(p): inside the wall rise ≈ fade ≈ 1, which keeps its area and so
    thickens it; fade lets the surroundings follow less and less. Each of the three is one to one, so
    nothing folds.
    """

    activation: np.ndarray  # (phases,) 0 at ED, 1 at ES
    shift: np.ndarray  # (phases, 2) mm
    twist: float  # radians at ES
    contraction: float  # mm² at ES, taken off the squared radius
    core: float  # mm², squared radius within which the contraction rises
    infarct: np.ndarray  # (2,) unit direction of its middle
    loss: float  # share of the contraction lost there
    reach: float = 65.0**2  # mm², squared radius where the motion has faded to 1/e

    def to_material(self, points: np.ndarray, phase: int) -> np.ndarray:
        """Places at a phase, (2, ...) mm → places of the same tissue at ED, (2, ...) mm."""
        points = points - self._pull(points, phase)
        squared = np.maximum((points**2).sum(0), 1e-9)
        points = turn(points, -self._angle(squared, phase))
        material, _ = self._contract(squared, self._hypokinesia(points, squared), phase)
        return points * np.sqrt(material / squared)

    def to_space(self, points: np.ndarray, phase: int) -> np.ndarray:
        """The inverse of `to_material`, by Newton for the radius and a fixed point for the pull."""
        material = np.maximum((points**2).sum(0), 1e-9)
        hypokinesia = self._hypokinesia(points, material)
        slope = 1 + self.activation[phase] * self.contraction / self.core
        # Two lower bounds of the root: Newton climbs to it from there, as the curve is concave.
        squared = np.maximum(material - self.activation[phase] * self.contraction, material / slope)
        for _ in range(10):
            value, slope = self._contract(squared, hypokinesia, phase)
            squared = np.maximum(squared + (material - value) / slope, 1e-12)
        pulled = turn(points * np.sqrt(squared / material), self._angle(squared, phase))
        points = pulled
        for _ in range(10):
            points = pulled + self._pull(points, phase)
        return points

    def _fade(self, squared: np.ndarray) -> np.ndarray:
        return np.exp(-((squared / self.reach) ** 2))

    def _pull(self, points: np.ndarray, phase: int) -> np.ndarray:
        return np.multiply.outer(self.shift[phase], self._fade((points**2).sum(0)))

    def _angle(self, squared: np.ndarray, phase: int) -> np.ndarray:
        return self.twist * self.activation[phase] * self._fade(squared)

    def _hypokinesia(self, points: np.ndarray, squared: np.ndarray) -> np.ndarray:
        """Share of the contraction lost along each point's direction."""
        cosine = (self.infarct[0] * points[0] + self.infarct[1] * points[1]) / np.sqrt(squared)
        return self.loss * np.exp(2.5 * (cosine - 1))

    def _contract(self, squared: np.ndarray, hypokinesia: np.ndarray, phase: int) -> tuple[np.ndarray, np.ndarray]:
        """Squared radius at a phase → squared radius at ED, and the derivative of this."""
        gone = np.exp(-squared / self.core)
        fade = self._fade(squared)
        near = self.core / 3
        vigour = 1 - hypokinesia * squared / (squared + near)  # the centre has no direction, so no infarct
        value = (1 - gone) * fade * vigour
        slope = (
            gone / self.core * fade * vigour
            - value * 2 * squared / self.reach**2
            - (1 - gone) * fade * hypokinesia * near / (squared + near) ** 2
        )
        amount = self.activation[phase] * self.contraction
        return squared + amount * value, 1 + amount * slope
