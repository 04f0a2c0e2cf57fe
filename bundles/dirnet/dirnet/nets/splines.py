"""Control points to displacement fields and warped images.

Conventions, shared by every layer here:

- Control points have shape (B, dims, K_1, ..., K_dims): displacements in pixels of the fixed image, components in
  array order (row, column[, depth]). Point k of spacing s sits at pixel ``s * k + (s - 1) / 2`` of its axis,
  the centre of the k-th s-pixel cell.
- A dense displacement field (DDF) has shape (B, dims, H, W[, D]), same components and unit, and pulls back:
  ``warped(x) = moving(x + ddf(x))``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..fields.displacement import BOUNDARIES, BSplinePart, Displacement
from ..speed.cpu import is_plain_and_eager

__all__ = [
    "BSplineTransformer",
    "ThinPlateSplineTransformer",
    "bspline",
    "bspline_matrix",
]


def bspline(x: Tensor, order: int) -> Tensor:
    """Centred uniform B-spline of order 1, 2 or 3 at ``x``, in units of the knot spacing.

    The one-sided power form of Unser, "Splines: a perfect fit", IEEE Signal Processing Magazine 1999, eq. 3,
    folded at zero by symmetry. Zero for ``|x| >= (order + 1) / 2``.
    """
    a = x.abs()
    if order == 1:
        return F.relu(1.0 - a)
    if order == 2:
        return (F.relu(1.5 - a) ** 2 - 3.0 * F.relu(0.5 - a) ** 2) / 2.0
    if order == 3:
        return (F.relu(2.0 - a) ** 3 - 4.0 * F.relu(1.0 - a) ** 3) / 6.0
    raise ValueError(f"B-spline order must be 1, 2 or 3, got {order}")


def bspline_matrix(size: int, count: int, spacing: int, order: int, replicate: bool, device: torch.device) -> Tensor:
    """Samples of the ``count`` basis functions of one axis at its ``size`` pixels.

    With ``replicate`` the first and the last control point repeat outward without end, so that rows sum to one up
    to the border; otherwise nothing lies outside and the rows near the border sum to less.

    Returns:
        float32 matrix (size, count); ``matrix @ control_points`` is the displacement at each pixel.
    """
    pixels = torch.arange(size, device=device, dtype=torch.float32)
    # no basis function reaches further than two cells: two points more on each side are all that can matter
    outside = 2 if replicate else 0
    knots = torch.arange(-outside, count + outside, device=device, dtype=torch.float32)
    matrix = bspline((pixels - (spacing - 1) / 2.0).unsqueeze(1) / spacing - knots, order)
    if replicate and count == 1:
        matrix = matrix.sum(1, keepdim=True)
    elif replicate:
        first = matrix[:, : outside + 1].sum(1, keepdim=True)
        last = matrix[:, count + outside - 1 :].sum(1, keepdim=True)
        matrix = torch.cat([first, matrix[:, outside + 1 : count + outside - 1], last], 1)
    return matrix


@functools.lru_cache(64)
def _kept_matrix(size: int, count: int, spacing: int, order: int, replicate: bool, device: torch.device) -> Tensor:
    """To make the matrices takes as long as to multiply by them, for a lone image."""
    with torch.inference_mode(False):  # autograd could not use one made in it
        return bspline_matrix(size, count, spacing, order, replicate, device)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` in float32 under autocast too; only TorchScript cannot leave it, and then computes in bfloat16."""
    if torch.jit.is_scripting():
        return a @ b
    with torch.autocast(a.device.type, enabled=False):
        return a @ b


def _check_control_points(control_points: Tensor, spacing: list[int], size: list[int]) -> None:
    dims = len(spacing)
    if control_points.dim() != dims + 2 or control_points.shape[1] != dims:
        raise ValueError(
            f"control points for a {dims}-D grid must have shape (B, {dims}, ...) with {dims + 2} axes, "
            f"got {list(control_points.shape)}"
        )
    if len(size) != dims:
        raise ValueError(f"a {dims}-D field needs {dims} sizes, got {size}")
    if not torch.jit.is_scripting():  # noqa: SIM102 (TorchScript must not see what follows)
        if torch.compiler.is_exporting():
            return  # of sizes that are known only when it runs
    for axis in range(dims):
        if size[axis] > control_points.shape[axis + 2] * spacing[axis]:
            raise ValueError(
                f"{control_points.shape[axis + 2]} control points {spacing[axis]} px apart reach over "
                f"{control_points.shape[axis + 2] * spacing[axis]} px, not over the {size[axis]} asked for"
            )


def _spacing_per_axis(spacing: int | Sequence[int], spatial_dims: int) -> list[int]:
    spacings = [spacing] * spatial_dims if isinstance(spacing, int) else list(spacing)
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}")
    if len(spacings) != spatial_dims or min(spacings) < 1:
        raise ValueError(f"spacing must be a positive integer or {spatial_dims} of them, got {spacing}")
    return spacings


class BSplineTransformer(nn.Module):
    """Control points to DDF by a tensor-product B-spline, one basis matrix an axis.

    Exact samples of the spline for every order and spacing (Rueckert et al., IEEE TMI 1999, eq. 2, for order 3).

    Args:
        spacing: control-point spacing in pixels, one for all axes or one each.
        order: 1 (linear), 2 (quadratic) or 3 (cubic, the paper's).
        boundary: ``"zero"``, the paper's: no control point outside the image, so the field falls to about half at
            its edge; ``"replicate"``: the outermost points repeat outward, so that equal points give a constant field.
        spatial_dims: 2 or 3.

    Example::

        >>> BSplineTransformer(spacing=16)(torch.zeros(1, 2, 16, 16)).shape
        torch.Size([1, 2, 256, 256])
    """

    def __init__(
        self, spacing: int | Sequence[int], order: int = 3, boundary: str = "zero", spatial_dims: int = 2
    ) -> None:
        super().__init__()
        if order not in (1, 2, 3):
            raise ValueError(f"B-spline order must be 1, 2 or 3, got {order}")
        if boundary not in BOUNDARIES:
            raise ValueError(f"boundary must be one of {BOUNDARIES}, got {boundary!r}")
        self.spacing = _spacing_per_axis(spacing, spatial_dims)
        self.order = order
        self.boundary = boundary

    def extra_repr(self) -> str:
        return f"spacing={self.spacing}, order={self.order}, boundary={self.boundary!r}"

    def forward(self, control_points: Tensor, size: list[int] | None = None) -> Tensor:
        """
        Args:
            control_points: (B, dims, K_1, ...), any floating type; computed in float32.
            size: spatial size of the field, at most K * spacing an axis, which is the default.

        Returns:
            DDF (B, dims, *size), float32, in pixels, components in array order, pull-back.

        Raises:
            ValueError: when the control points are of other dimension, or do not reach over ``size``.
        """
        if size is None:
            size = [k * s for k, s in zip(control_points.shape[2:], self.spacing)]  # noqa: B905 (TorchScript)
        _check_control_points(control_points, self.spacing, size)
        return self.field(control_points, size)

    def displacement(self, control_points: Tensor, size: list[int]) -> Displacement:
        """:meth:`forward`, with the spline itself."""
        part = BSplinePart(control_points, tuple(self.spacing), self.order, self.boundary)
        return Displacement(self(control_points, size), (part,))

    def matrix(self, axis: int, size: int, control_points: Tensor) -> Tensor:
        count, spacing, device = control_points.shape[axis + 2], self.spacing[axis], control_points.device
        replicate = self.boundary == "replicate"
        if not torch.jit.is_scripting():  # noqa: SIM102 (TorchScript must not see what follows)
            if is_plain_and_eager(control_points):
                return _kept_matrix(size, count, spacing, self.order, replicate, device)
        return bspline_matrix(size, count, spacing, self.order, replicate, device)

    def field(self, control_points: Tensor, size: list[int]) -> Tensor:
        """The spline of any (B, C, K_1, ...) at every pixel: (B, C, *size), float32."""
        dims = len(self.spacing)
        field = _product(control_points.float(), self.matrix(dims - 1, size[dims - 1], control_points).t())
        for axis in range(dims - 2, -1, -1):
            rest = field.shape[axis + 3 :]
            # everything behind the axis in one row, so that each axis is one batched matrix product
            field = _product(self.matrix(axis, size[axis], control_points), field.flatten(axis + 3))
            field = field.reshape(list(field.shape[: axis + 3]) + list(rest))
        return field


class ThinPlateSplineTransformer(nn.Module):
    """Control points to DDF by a thin-plate spline, which passes through every control point.

    The interpolant is linear in the control points, so it is one matrix (pixels x points), made once an image size in
    float64 and kept (Bookstein, IEEE PAMI 1989; kernel r^2 log r in 2-D, r in 3-D; affine part unpenalised).
    The matrix takes 4 bytes x pixels x points: 67 MB for 256 x 256 pixels and 16 x 16 points.

    Args:
        spacing: control-point spacing in pixels, one for all axes or one each.
        spatial_dims: 2 or 3.
    """

    def __init__(self, spacing: int | Sequence[int], spatial_dims: int = 2) -> None:
        super().__init__()
        self.spacing = _spacing_per_axis(spacing, spatial_dims)
        # the last sizes and their matrix, replaced as one, so that threads never mix two sizes; the matrix is no
        # buffer, which the network's own type would touch
        self.kept = ([0], torch.zeros(0))

    def extra_repr(self) -> str:
        return f"spacing={self.spacing}"

    def forward(self, control_points: Tensor, size: list[int] | None = None) -> Tensor:
        """As :meth:`BSplineTransformer.forward`; at least two control points an axis.

        Raises:
            ValueError: also when an axis has a single control point, which leaves the affine part open.
        """
        if size is None:
            size = [k * s for k, s in zip(control_points.shape[2:], self.spacing)]  # noqa: B905 (TorchScript)
        _check_control_points(control_points, self.spacing, size)
        counts = list(control_points.shape[2:])
        if min(counts) < 2:
            raise ValueError(f"a thin-plate spline needs two control points an axis or more, got {counts}")
        made_for, matrix = self.kept
        stale = made_for != counts + size or matrix.device != control_points.device
        # one made under inference_mode is no use to autograd
        if stale or (matrix.is_inference() and control_points.requires_grad):
            matrix = self.interpolation_matrix(counts, size).to(control_points.device)
            self.kept = (counts + size, matrix)
        field = _product(control_points.float().flatten(2), matrix)
        return field.reshape(list(field.shape[:2]) + size)

    def displacement(self, control_points: Tensor, size: list[int]) -> Displacement:
        """:meth:`forward`; a thin-plate spline has no parts."""
        return Displacement(self(control_points, size))

    def interpolation_matrix(self, counts: list[int], size: list[int]) -> Tensor:
        """float32 (points, pixels): the field's value at each pixel for each unit control point."""
        unit = float(max(self.spacing))  # lengths near 1 keep the system well conditioned at any spacing
        points = _lattice(counts, self.spacing) / unit
        pixels = _lattice(size, [1] * len(size)) / unit
        affine = torch.cat([torch.ones(len(points), 1, dtype=torch.float64), points], 1)
        corner = torch.zeros(affine.shape[1], affine.shape[1], dtype=torch.float64)
        system = torch.cat([torch.cat([_kernel(points, points), affine], 1), torch.cat([affine.t(), corner], 1)], 0)
        basis = torch.cat([_kernel(pixels, points), torch.ones(len(pixels), 1, dtype=torch.float64), pixels], 1)
        return torch.linalg.solve(system, basis.t())[: len(points)].float()


def _lattice(size: list[int], spacing: list[int]) -> Tensor:
    """Pixel coordinates of control points ``spacing`` apart, (points, dims), float64."""
    axes = [
        torch.arange(n, dtype=torch.float64) * s + (s - 1) / 2.0
        for n, s in zip(size, spacing)  # noqa: B905 (TorchScript)
    ]
    return torch.stack(torch.meshgrid(axes, indexing="ij"), -1).flatten(0, len(size) - 1)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """Thin-plate kernel between two sets of points, (len(a), len(b))."""
    if a.shape[1] == 3:
        return torch.cdist(a, b)
    squared = (a.unsqueeze(1) - b).square().sum(2)
    return 0.5 * torch.xlogy(squared, squared)  # r^2 log r
