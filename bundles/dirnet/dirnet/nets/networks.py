"""DIRNet: a pair of images to control points to a displacement field."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import InputError
from ..fields.displacement import Displacement
from .definition import DefinedNetwork
from .layers import Convolution
from .splines import BSplineTransformer, ThinPlateSplineTransformer

__all__ = ["DIRNet"]

POOLINGS = ("average", "max", "stride")
SPLINES = ("bspline", "thin_plate")


class DIRNet(DefinedNetwork):
    """Deformable Image Registration Network (de Vos et al., "End-to-End Unsupervised Deformable Image Registration
    with a Convolutional Neural Network", DLMIA 2017, arXiv:1704.06065).

    A stack of 3x3 convolutions, each followed by a 2x2 pooling, and 1x1 convolutions turn the pair into one control
    point for each cell of ``2 ** poolings`` pixels; a spline turns these into the displacement field. Batch
    normalisation and ELU follow each layer but the linear output, which starts at zero, so that training starts at
    the identity. The defaults are the paper's baseline for cine MR; its other networks are

    ==== ===============================================================================================
    A1   ``pooling="max"``
    A2   ``pooling="stride"``: 2x2 convolutions of stride 2
    B1   ``order=2``
    B2   ``spline="thin_plate"``
    C1   ``extra_convolutions=True``: one more 3x3 convolution before and one after the last pooling
    C2   ``fully_connected=(256, 256)``: for images of this size only, a 3x3 convolution, a pooling and two
         fully connected layers of 1,024 in place of the 1x1 convolutions
    ==== ===============================================================================================

    Args:
        spatial_dims: 2 or 3.
        channels: kernels of each convolution.
        poolings: halvings of the image; the control-point spacing is ``2 ** poolings`` pixels.
        pooling: ``"average"``, ``"max"`` or ``"stride"``.
        spline: ``"bspline"`` or ``"thin_plate"``.
        order: of the B-spline, 1, 2 or 3.
        boundary: of the B-spline, ``"zero"`` or ``"replicate"``, see :class:`~dirnet.nets.splines.BSplineTransformer`.
        extra_convolutions: see C1.
        fully_connected: see C2; the image size.

    Input: pair (B, 2, H, W[, D]), channel 0 moving, channel 1 fixed, each scaled to [0, 1]; any size: it is padded
    with zeros at the end of each axis to a multiple of the spacing, and the field is cropped back.
    Output: DDF (B, dims, H, W[, D]) in pixels, components in array order, float32, pull-back:
    ``warped(x) = moving(x + ddf(x))``. Pixels count as square, whatever their spacing.

    Example::

        >>> DIRNet()(torch.rand(1, 2, 200, 256)).shape
        torch.Size([1, 2, 200, 256])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        channels: int = 16,
        poolings: int = 4,
        pooling: str = "average",
        spline: str = "bspline",
        order: int = 3,
        boundary: str = "zero",
        extra_convolutions: bool = False,
        fully_connected: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise InputError(f"pooling must be one of {POOLINGS}, got {pooling!r}")
        if spline not in SPLINES:
            raise InputError(f"spline must be one of {SPLINES}, got {spline!r}")
        if not isinstance(extra_convolutions, bool):
            raise InputError(f"extra_convolutions must be True or False, got {extra_convolutions!r}")
        if poolings < 1:
            raise InputError(f"poolings must be 1 or more, got {poolings}")
        self.spatial_dims = spatial_dims
        self.spacing = 2**poolings
        self.any_size = fully_connected is None
        self.image_size = [0] * spatial_dims if fully_connected is None else list(fully_connected)
        # what tells this network from another with weights of the same shapes; goes with them into a checkpoint
        self.definition = {
            "spatial_dims": spatial_dims,
            "channels": channels,
            "poolings": poolings,
            "pooling": pooling,
            "spline": spline,
            "order": order if spline == "bspline" else None,
            "boundary": boundary if spline == "bspline" else None,
            "extra_convolutions": extra_convolutions,
            "fully_connected": None if fully_connected is None else self.image_size,
        }

        def convolution(inputs: int, kernel_size: int = 3, stride: int = 1) -> nn.Module:
            return Convolution(spatial_dims, inputs, channels, kernel_size, stride)

        def downsampling() -> nn.Module:
            if pooling == "stride":
                return convolution(channels, kernel_size=2, stride=2)
            if pooling == "average" and spatial_dims == 2:
                return nn.AvgPool2d(kernel_size=2)
            if pooling == "average":
                return nn.AvgPool3d(kernel_size=2)
            return nn.MaxPool2d(kernel_size=2) if spatial_dims == 2 else nn.MaxPool3d(kernel_size=2)

        layers: list[nn.Module] = []
        for level in range(poolings):
            layers.append(convolution(2 if level == 0 else channels))
            if extra_convolutions and level == poolings - 1:
                layers.append(convolution(channels))
            layers.append(downsampling())
        if extra_convolutions:
            layers.append(convolution(channels))

        if not self.any_size:
            grid = self._grid(spatial_dims, self.image_size)
            features, points = channels, spatial_dims
            for n in grid:
                features, points = features * (n // 2), points * n
            layers += [convolution(channels), downsampling(), nn.Flatten()]
            for inputs in (features, 1024):
                layers += [nn.Linear(inputs, 1024, bias=False), nn.BatchNorm1d(1024), nn.ELU(inplace=True)]
            output: nn.Linear | nn.Conv2d | nn.Conv3d = nn.Linear(1024, points)
            layers += [output, nn.Unflatten(1, (spatial_dims, *grid))]
        else:
            layers += [convolution(channels, kernel_size=1), convolution(channels, kernel_size=1)]
            output = nn.Conv2d(channels, 2, 1) if spatial_dims == 2 else nn.Conv3d(channels, 3, 1)
            layers.append(output)
        for parameter in output.parameters():
            nn.init.zeros_(parameter)
        self.regressor = nn.Sequential(*layers)
        if spline == "thin_plate":
            self.transformer: nn.Module = ThinPlateSplineTransformer(self.spacing, spatial_dims)
        else:
            self.transformer = BSplineTransformer(self.spacing, order, boundary, spatial_dims)

    def _grid(self, spatial_dims: int, size: list[int]) -> list[int]:
        if len(size) != spatial_dims or any(n % (2 * self.spacing) for n in size):
            raise InputError(
                f"fully_connected must be {spatial_dims} image sizes, multiples of {2 * self.spacing}, got {size}"
            )
        return [n // self.spacing for n in size]

    def padded(self, pair: Tensor) -> Tensor:
        """A pair as its layers take it, see the class.

        Raises:
            ValueError: when the pair's channels or dimensions are others, or in C2 its size.
        """
        if pair.dim() != self.spatial_dims + 2 or pair.shape[1] != 2:
            raise ValueError(
                f"a {self.spatial_dims}-D DIRNet takes (B, 2, ...) with {self.spatial_dims} spatial axes "
                f"(channel 0 moving, channel 1 fixed), got {list(pair.shape)}"
            )
        size = list(pair.shape[2:])
        if not self.any_size and size != self.image_size:
            raise ValueError(f"this network has fully connected layers for size {self.image_size}, got {size}")
        padding: list[int] = []
        for axis in range(len(size) - 1, -1, -1):
            padding += [0, -size[axis] % self.spacing]
        return F.pad(pair, padding)  # whether or not it is by 0: an exported network takes any size

    @torch.jit.export
    def control_points(self, pair: Tensor) -> Tensor:
        """Pair (B, 2, H, W[, D]) to control points (B, dims, ceil(H / spacing), ...), float32, in pixels.

        Raises:
            ValueError: as :meth:`padded`.
        """
        return self.regressor(self.padded(pair)).float()

    def forward(self, pair: Tensor) -> Tensor:
        return self.transformer(self.control_points(pair), list(pair.shape[2:]))

    def displacement(self, pair: Tensor) -> Displacement:
        """Pairs (B, 2, H, W[, D]) to their displacement: field and spline, float32.

        Raises:
            ValueError: as :meth:`padded`.
        """
        transformer: Any = self.transformer
        return transformer.displacement(self.control_points(pair), list(pair.shape[2:]))

    def fold_normalization(self) -> DIRNet:
        """A copy for inference whose convolutions have taken in their batch normalisation: the same field, sooner.

        Its weights are those of no checkpoint: it loads none, and is not to be saved.
        """
        folded = copy.deepcopy(self).eval()
        folded.regressor.__dict__.pop("forward", None)  # compiled, it would be this network's own
        for block in folded.regressor:
            if isinstance(block, Convolution):
                layers: Any = block
                layers.conv = fuse_conv_bn_eval(layers.conv, layers.adn.N)
                layers.adn.N = nn.Identity()
        return folded
