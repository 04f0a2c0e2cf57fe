"""The tissue of a slice as it lies at ED."""

from __future__ import annotations

import numpy as np

from .motion import direction, turn


class Ellipses:
    """A union of ellipses."""

    def __init__(self, *ellipses: tuple[float, float, float, float, float]):
        """Each: centre row and column, half height and half width in mm, turn in radians."""
        row, column, height, width, angle = np.array(ellipses, float).T
        cos, sin = np.cos(angle), np.sin(angle)
        half = np.minimum(height, width) / 2
        down = np.stack([cos, -sin, sin * column - cos * row]) / height
        across = np.stack([sin, cos, -sin * row - cos * column]) / width
        self.axes = [(np.sqrt(half) * axis).T.astype(np.float32) for axis in (down, across)]
        self.half = half[:, None].astype(np.float32)

    def outside(self, points: np.ndarray) -> np.ndarray:
        """Distance in mm beyond the nearest border, about (best along the short axis); negative inside.

        points: (3, N) of row, column, 1. With ρ = 1 on the border it is (ρ² − 1) / 2 · shorter half axis.
        """
        down, across = (_products(axis, points) for axis in self.axes)
        return (down**2 + across**2 - self.half).min(0)


class Anatomy:
    """The tissue of one slice at ED: the outlines of the LV, and the signal at any point.

    The picture is the usual short-axis view: chest wall at the upper left, the right ventricle left of
    the left one, lung at the right, the diaphragm below with liver, stomach and spleen.
    """

    def __init__(self, rng: np.random.Generator, lumen: float, wall: float, depth: float, edge: float):
        """Radii in mm, depth from 0 (base) to 1 (apex), half width of every edge in mm.

        All slices of a patient are given the same state of rng: they differ by depth alone.
        """
        self.radius = {"lumen": lumen, "epicardium": lumen + wall}
        self.edge = edge
        self.tilt = rng.uniform(-0.25, 0.25)
        self.oval = rng.uniform(-0.06, 0.06)
        self.contrast = rng.uniform(0.9, 1.1, 6)
        # The tissue's grain: sums of waves, of wave number (row, column) in radians a mm, and of phase.
        self.waves = np.column_stack([rng.normal(0, 0.3, (8, 2)), rng.uniform(0, 6, 8)]).astype(np.float32)

        def near(*ellipse: float, spread: float = 3.0) -> tuple:
            """The ellipse, somewhat moved and resized."""
            row, column, height, width, angle = ellipse
            height, width = rng.uniform(0.92, 1.08, 2) * (height, width)
            return *rng.normal((row, column), spread), height, width, angle

        def on_wall(angle: float, radius: float, size: float) -> tuple:
            return *direction(angle) * radius * lumen, size * lumen, size * lumen, 0

        def scatter(number: int, low: tuple, high: tuple, *shape: float) -> Ellipses:
            return Ellipses(*((*rng.uniform(low, high), *shape, rng.uniform(0, 3)) for _ in range(number)))

        self.skin = Ellipses(near(62, 38, 128, 142, 0.5))
        self.fat, self.muscle = rng.uniform(6, 16), rng.uniform(7, 10)
        outer = lumen + wall
        right = outer * (1 - 0.4 * depth)  # the right ventricle ends before the left one
        self.right = Ellipses(near(2, -0.72 * outer, 0.95 * right, 0.85 * right, 0.3, spread=1))
        self.sac = Ellipses((0, 0, 1.1 * outer, 1.06 * outer, 0), (2, -0.7 * outer, 1.1 * right, 0.9 * right + 4, 0.3))
        self.papillaries = Ellipses(
            *(on_wall(angle, 0.72, 0.19) for angle in rng.normal((0.9, -0.8), 0.1)),
            *(on_wall(angle, 0.98, 0.08) for angle in rng.uniform(-2, 2, 8)),  # trabeculae
        )
        self.vessels = scatter(14, (-75, 25), (30, 90), 1.5, 1.5)
        self.summit = rng.uniform(-60, -10)  # column where the diaphragm is highest
        self.floor = 1.02 * outer + rng.uniform(2, 8)  # and its row there
        self.ducts = scatter(12, (self.floor + 8, -90), (self.floor + 60, 10), 1.6, 5)
        self.stomach = Ellipses(near(self.floor + 26, 30, 11, 24, 0.2))
        self.spleen = Ellipses(near(self.floor + 26, 84, 30, 13, -0.1))
        self.spine = Ellipses(near(118, -30, 17, 20, 0))
        self.aorta = Ellipses(near(98, -4, 10, 10, 0))

    def outline(self, structure: str, directions: np.ndarray) -> np.ndarray:
        """Radius of the lumen or epicardium in mm along unit directions (2, ...): slightly oval."""
        row, column = directions
        return self.radius[structure] * (1 + self.oval * (row**2 - column**2))

    def outside(self, structure: str, points: np.ndarray) -> np.ndarray:
        """Distance in mm beyond the border of lumen or epicardium along the radius, negative inside."""
        radius = np.maximum(np.hypot(*points), 1e-6)
        return radius - self.outline(structure, points / radius)

    def in_right(self, points: np.ndarray) -> np.ndarray:
        """Whether points (2, ...) at ED lie in the right ventricle's ellipse, part of which the left one covers."""
        row, column = turn(points.reshape(2, -1), self.tilt).astype(np.float32)
        return (self.right.outside(np.stack([row, column, np.ones_like(row)])) < 0).reshape(points.shape[1:])

    def signal(self, points: np.ndarray) -> np.ndarray:
        """Signal at points (2, ...) at ED, roughly as a scanner scales it: blood 350, myocardium 95."""
        shape = points.shape[1:]
        points = points.reshape(2, -1).astype(np.float32)
        row, column = turn(points, self.tilt).astype(np.float32)
        body = np.stack([row, column, np.ones_like(row)])
        blood, muscle, fat, lung, liver, gut = (self.contrast * (350, 95, 400, 16, 115, 190)).tolist()
        image = np.full_like(row, 4)

        def lay(signal: float, *borders: np.ndarray) -> None:
            """Lays a tissue over what is there, inside all the borders (distances, negative inside)."""
            beyond = np.maximum.reduce(borders) / self.edge
            np.add(image, (signal - image) / (1 + np.exp(np.minimum(beyond, 60))), out=image)

        skin = self.skin.outside(body)
        chest = skin + self.fat + self.muscle
        diaphragm = self.floor + (column - self.summit) ** 2 / 600 - row
        lay(fat, skin)
        lay(muscle, skin + self.fat)
        lay(lung, chest)
        lay(0.35 * blood, self.vessels.outside(body), chest)
        lay(liver, chest, diaphragm)
        lay(1.5 * liver, self.ducts.outside(body), chest, diaphragm)
        lay(gut, self.stomach.outside(body), chest, diaphragm + 3)
        lay(0.7 * gut, self.spleen.outside(body), chest, diaphragm + 3)
        lay(1.3 * liver, self.spine.outside(body))
        lay(blood, self.aorta.outside(body))

        right, lumen = self.right.outside(body), self.outside("lumen", points)
        lay(0.6 * fat, self.sac.outside(body), chest)
        lay(muscle, right - 3)
        lay(0.92 * blood, right)
        lay(muscle, self.outside("epicardium", points))
        lay(blood, lumen)
        lay(1.15 * muscle, self.papillaries.outside(body), lumen)
        grain = np.cos(_products(self.waves, body)).sum(0)
        return (image * (1 + 0.02 * grain)).reshape(shape)


def _products(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """rows @ columns, (K, I) and (I, N). Not by BLAS, whose threads cost more here than they bring."""
    return np.einsum("ki,in->kn", rows, columns)
