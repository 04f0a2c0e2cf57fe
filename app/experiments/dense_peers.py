"""Registrations with a displacement of its own for each pixel, each after an affine one where that is wanted: SyN by
DIPY, greedy, and diffeomorphic demons by SimpleITK.

They are inferers as those of :mod:`app.experiments.peers`. DIPY and greedy are optional.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from dirnet.errors import InputError

from .peers import ElastixStages, PairByPairInferer, as_transform, default_stage, in_pixels

__all__ = ["DemonsInferer", "GreedyInferer", "SynInferer"]


class SynInferer(PairByPairInferer):
    """Symmetric diffeomorphic registration by local cross-correlation (Avants et al., Medical Image Analysis 2008), by
    DIPY, with DIPY's own affine registration by mutual information.

    Args:
        affine: whether the affine registration comes first.
        radius: of the window of the cross-correlation, in pixels.
        iterations: at each resolution, the coarsest first.

    Raises:
        InputError: when DIPY is not installed.
    """

    def __init__(self, affine: bool = True, radius: int = 2, iterations: Sequence[int] = (100, 50, 25)) -> None:
        super().__init__()
        try:
            import dipy  # noqa: F401
        except ModuleNotFoundError as error:
            raise InputError("SyN needs DIPY: pip install dipy") from error
        logging.getLogger("dipy").setLevel(logging.WARNING)  # it tells of each step
        self.affine, self.radius, self.iterations = affine, radius, list(iterations)

    def register(
        self, moving: np.ndarray, fixed: np.ndarray, spacing: Sequence[float]
    ) -> tuple[Callable[[], np.ndarray], float]:
        from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
        from dipy.align.metrics import CCMetric

        moving, fixed = (image.astype(np.float64) for image in (moving, fixed))
        world = np.diag([*spacing, 1.0])
        start = time.perf_counter()
        matrix = _dipy_affine(moving, fixed, world) if self.affine else np.eye(fixed.ndim + 1)
        if self.affine:
            moving = _sampled(moving, matrix, spacing)
        metric = CCMetric(fixed.ndim, radius=self.radius)
        syn = SymmetricDiffeomorphicRegistration(metric, level_iters=self.iterations)
        mapping = syn.optimize(fixed, moving, static_grid2world=world, moving_grid2world=world)
        seconds = time.perf_counter() - start
        shift = np.moveaxis(mapping.get_forward_field(), -1, 0)  # mm, as the grid's
        return lambda: _after(matrix, shift, spacing), seconds


def _dipy_affine(moving: np.ndarray, fixed: np.ndarray, world: np.ndarray) -> np.ndarray:
    """From places in the fixed image to those in the moving one, in mm."""
    from dipy.align import imaffine, transforms

    matrix: Any = np.eye(len(world))
    search = imaffine.AffineRegistration(
        metric=imaffine.MutualInformationMetric(nbins=32),
        level_iters=[1000, 100, 50],
        sigmas=[3.0, 1.0, 0.0],
        factors=[4, 2, 1],
        verbosity=0,
    )
    for kind in ("TranslationTransform", "RigidTransform", "AffineTransform"):
        transform = getattr(transforms, f"{kind}{fixed.ndim}D")()
        found = search.optimize(
            fixed,
            moving,
            transform,
            None,
            static_grid2world=world,
            moving_grid2world=world,
            starting_affine=matrix,
        )
        matrix = found.affine
    return matrix


class GreedyInferer(PairByPairInferer):
    """greedy (Yushkevich et al., 2016): diffeomorphic registration by local cross-correlation, for which its affine one
    can come first, by the same.

    Args:
        affine: whether the affine registration comes first.
        radius: of the window of the cross-correlation, in pixels.
        iterations: at each resolution, the coarsest first.
        smoothing: standard deviations in pixels by which updates and the whole field are smoothed.

    Raises:
        InputError: when greedy is not installed.
    """

    def __init__(
        self,
        affine: bool = True,
        radius: int = 2,
        iterations: Sequence[int] = (100, 50, 25),
        smoothing: tuple[float, float] = (1.732, 0.7071),
    ) -> None:
        super().__init__()
        try:
            import picsl_greedy  # noqa: F401
        except ModuleNotFoundError as error:
            raise InputError("greedy needs its library: pip install picsl_greedy") from error
        self.affine, self.radius = affine, radius
        self.iterations = "x".join(map(str, iterations))
        self.smoothing = smoothing

    def register(
        self, moving: np.ndarray, fixed: np.ndarray, spacing: Sequence[float]
    ) -> tuple[Callable[[], np.ndarray], float]:
        from picsl_greedy import Greedy2D, Greedy3D

        images = {"fixed": _image(fixed, spacing), "moving": _image(moving, spacing)}
        greedy = (Greedy3D if fixed.ndim == 3 else Greedy2D)()
        metric = (
            f"-i fixed moving -m NCC {'x'.join([str(self.radius)] * fixed.ndim)} -n {self.iterations} -threads 1 -V 0"
        )
        smoothing = "-s {}vox {}vox".format(*self.smoothing)
        start = time.perf_counter()
        first = ""
        if self.affine:
            greedy.execute(f"{metric} -a -dof 12 -ia-identity -o affine", **images, affine=None)
            first = "-it affine"
        greedy.execute(f"{metric} {smoothing} {first} -o warp", **images, warp=None)
        seconds = time.perf_counter() - start
        matrix = _from_ras(np.array(greedy["affine"])) if self.affine else np.eye(fixed.ndim + 1)
        shift = sitk.GetArrayFromImage(greedy["warp"])
        scale = np.asarray(spacing).reshape(-1, *[1] * fixed.ndim)
        return lambda: _after(matrix, in_pixels(shift, spacing) * scale, spacing), seconds


class DemonsInferer(PairByPairInferer):
    """Diffeomorphic demons (Vercauteren et al., NeuroImage 2009) over three resolutions, by SimpleITK; an affine
    registration by elastix with its own parameters can come first.

    Args:
        affine: whether the affine registration comes first.
        iterations: at each resolution, the coarsest first.
        smoothing: standard deviation in pixels by which the field is smoothed after each iteration.
    """

    def __init__(self, affine: bool = True, iterations: Sequence[int] = (100, 50, 25), smoothing: float = 1.5) -> None:
        super().__init__()
        self.first = ElastixStages([default_stage("affine")]) if affine else None
        self.iterations, self.smoothing = list(iterations), smoothing

    def register(
        self, moving: np.ndarray, fixed: np.ndarray, spacing: Sequence[float]
    ) -> tuple[Callable[[], np.ndarray], float]:
        import itk

        images = [_image(image, spacing) for image in (fixed, moving)]
        start = time.perf_counter()
        whole: sitk.Transform = sitk.Transform(fixed.ndim, sitk.sitkIdentity)
        if self.first is not None:
            views = [itk.image_view_from_array(np.ascontiguousarray(image)) for image in (fixed, moving)]
            for view in views:
                view.SetSpacing(list(spacing)[::-1])
            _, found = itk.elastix_registration_method(*views, parameter_object=self.first.parameters)
            whole = as_transform([found.GetParameterMap(0)])
        field = sitk.TransformToDisplacementField(
            whole, sitk.sitkVectorFloat64, images[0].GetSize(), images[0].GetOrigin(), images[0].GetSpacing()
        )
        for level, iterations in enumerate(self.iterations):
            factor = 2 ** (len(self.iterations) - 1 - level)
            pair = [_smaller(image, factor) for image in images]
            demons = sitk.DiffeomorphicDemonsRegistrationFilter()
            demons.SetNumberOfIterations(iterations)
            demons.SetStandardDeviations(self.smoothing)
            demons.SetNumberOfThreads(1)
            field = demons.Execute(*pair, _on_grid(field, pair[0]))
        seconds = time.perf_counter() - start
        return lambda: in_pixels(sitk.GetArrayFromImage(field), spacing), seconds


def _image(array: np.ndarray, spacing: Sequence[float]) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(list(spacing)[::-1])
    return image


def _smaller(image: sitk.Image, factor: int) -> sitk.Image:
    """Smoothed and shrunk, along each axis that keeps 8 pixels."""
    if factor == 1:
        return image
    factors = [factor if size // factor >= 8 else 1 for size in image.GetSize()]
    variances = [(0.5 * by * mm) ** 2 if by > 1 else 0.0 for by, mm in zip(factors, image.GetSpacing(), strict=True)]
    return sitk.Shrink(sitk.DiscreteGaussian(image, variances), factors)


def _on_grid(field: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """A field at an image's pixels, linearly; beyond its own the nearest."""
    identity = sitk.Transform(grid.GetDimension(), sitk.sitkIdentity)
    return sitk.Resample(field, grid, identity, sitk.sitkLinear, useNearestNeighborExtrapolator=True)


def _places(shape: Sequence[int], spacing: Sequence[float]) -> np.ndarray:
    """(dims, H, W[, D]) in mm, in array order."""
    return np.indices(shape) * np.asarray(spacing).reshape(-1, *[1] * len(shape))


def _through(matrix: np.ndarray, places: np.ndarray) -> np.ndarray:
    offset = matrix[:-1, -1].reshape(-1, *[1] * (places.ndim - 1))
    return np.tensordot(matrix[:-1, :-1], places, 1) + offset


def _after(matrix: np.ndarray, shift: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """DDF in pixels of a shift (dims, H, W[, D]) in mm and then an affine map of mm, both in array order."""
    places = _places(shift.shape[1:], spacing)
    scale = np.asarray(spacing).reshape(-1, *[1] * (places.ndim - 1))
    return (_through(matrix, places + shift) - places) / scale


def _sampled(image: np.ndarray, matrix: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """An image at the places of an affine map of mm in array order, linearly, its lowest value beyond."""
    flip = np.arange(image.ndim)[::-1]
    transform = sitk.AffineTransform(image.ndim)
    transform.SetMatrix(matrix[:-1, :-1][np.ix_(flip, flip)].ravel().tolist())
    transform.SetTranslation(matrix[:-1, -1][flip].tolist())
    field_image = _image(image, spacing)
    found = sitk.Resample(field_image, field_image, transform, sitk.sitkLinear, float(image.min()))
    return sitk.GetArrayFromImage(found).astype(np.float64)


def _from_ras(matrix: np.ndarray) -> np.ndarray:
    """greedy's matrix of RAS, x first, as one of array order in ITK's LPS."""
    dims = len(matrix) - 1
    swap = np.eye(dims + 1)
    swap[:dims, :dims] = np.diag([-1.0, -1.0, 1.0][:dims])[::-1]
    return swap @ matrix @ np.linalg.inv(swap)
