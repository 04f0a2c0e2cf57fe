"""Registration in Python: load a network once, register pairs, follow a drawn structure through a cine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from transforms.cine import scale_intensity

from .errors import InputError
from .fields.jacobian import folded_percent
from .fields.resampling import warp
from .files.images import Image2D, as_image, pixels
from .nets.inference import bfloat16_pays, for_inference, predict
from .nets.losses import ncc
from .nets.networks import DIRNet
from .nets.weights import load_network
from .registration import Propagation, Registration, as_mask, warp_mask

__all__ = ["SHIPPED_WEIGHTS", "Registrar", "weights_file"]

SHIPPED_WEIGHTS = Path(__file__).parents[1] / "models" / "model.pt"


class Registrar:
    """A network that registers. One may be shared by several threads; it computes for one at a time.

    Args:
        network: a trained 2-D DIRNet.
        device: where it computes; a GPU, if there is one, by default.

    Example::

        >>> registrar = Registrar.load()
        >>> registration = registrar.register("es.dcm", "ed.dcm")
        >>> registration.ncc_after
    """

    def __init__(self, network: DIRNet, device: torch.device | str | None = None) -> None:
        if network.spatial_dims != 2:
            raise InputError(f"a Registrar takes a 2-D network, got a {network.spatial_dims}-D one")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.amp = bfloat16_pays(self.device)
        self.network = for_inference(network, self.device, self.amp)
        # each computation uses all cores: two at once, each with its own team of threads, are slower than in turn
        self._computing = threading.Lock()

    @classmethod
    def load(cls, path: str | Path | None = None, device: torch.device | str | None = None) -> Registrar:
        """
        Args:
            path: a checkpoint, the folder of a training or a bundle's; the weights shipped with this one by default.
            device: see the class.

        Raises:
            FileNotFoundError: when there is no such file, or no weights in the folder.
            ValueError: when the file holds no weights of a DIRNet.
        """
        return cls(load_network(weights_file(path)), device)

    def register(self, moving: Image2D, fixed: Image2D) -> Registration:
        """Register one slice with another; see :func:`dirnet.files.images.as_image` for what may be given.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when one is no single slice, or the two differ in size.
        """
        images = {"moving": as_image(moving, "moving"), "fixed": as_image(fixed, "fixed")}
        arrays = {name: pixels(image) for name, image in images.items()}
        if arrays["moving"].shape != arrays["fixed"].shape:
            sizes = ", ".join(f"{name} has {a.shape[0]}x{a.shape[1]}" for name, a in arrays.items())
            raise InputError(f"moving and fixed differ in size (rows x columns): {sizes}")
        if _run_apart(*images.values()):
            raise InputError(
                "the rows of moving and fixed run in different directions in space; give both as files, or both as "
                "MONAI's readers load them (which have x first)"
            )
        pair = torch.stack([torch.from_numpy(scale_intensity(array)) for array in arrays.values()])[None]
        with self._computing:
            control_points, ddf = self._fields(pair)
            warped = warp(torch.from_numpy(arrays["moving"])[None, None], ddf)
            before, after, folded = _scores(pair, ddf)
        return Registration(
            **images,
            warped=warped[0, 0].numpy(),
            ddf=ddf[0].numpy(),
            control_points=control_points[0].numpy(),
            folded_percent=folded.item(),
            ncc_before=before.item(),
            ncc_after=after.item(),
            spline=self.network.transformer,
            moving_file=_file(moving),
            fixed_file=_file(fixed),
        )

    def propagate(self, cine: np.ndarray | Tensor | Sequence[np.ndarray], mask: Image2D, frame: int) -> Propagation:
        """Carry a structure drawn on one frame to all others: each field straight from that frame, all in one pass.

        Args:
            cine: (T, H, W) of one slice, such as :func:`transforms.cine.read_frames` gives.
            mask: of the structure on ``frame``, (H, W) or a file; 0 and one other value.
            frame: index in time, from 0.

        Raises:
            FileNotFoundError: when the mask is a file that does not exist.
            ValueError: when the cine has another form, there is no such frame, or the mask does not fit or is empty.
        """
        images = np.asarray(cine.cpu() if isinstance(cine, Tensor) else cine, np.float32)
        if images.ndim != 3 or len(images) < 2 or 0 in images.shape:
            raise InputError(f"expected a cine (T, H, W) of two frames or more, found an array of {images.shape}")
        if not np.isfinite(images).all():
            raise InputError("the cine holds values that are not finite")
        if not 0 <= frame < len(images):
            raise InputError(f"frame must be 0 to {len(images) - 1}, got {frame}")
        drawn = as_mask(mask, images.shape[1:])
        if not drawn.any():
            raise InputError("the mask is empty: nothing is drawn on it")
        frames = torch.from_numpy(scale_intensity(images))[:, None]
        pairs = torch.cat([frames[frame].expand_as(frames), frames], 1)
        with self._computing:
            _, ddf = self._fields(pairs)
            ddf[frame] = 0
            scores = _scores(pairs, ddf)
            masks = warp_mask(drawn, ddf)
        before, after, folded = (score.numpy() for score in scores)
        return Propagation(frame, masks, ddf.numpy(), folded, before, after)

    @torch.no_grad()
    def _fields(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs (B, 2, H, W) to control points and DDF, on the CPU."""
        pairs = pairs.to(self.device).contiguous(memory_format=torch.channels_last)
        control_points = predict(self.network, pairs, self.amp)
        ddf = self.network.transformer(control_points, list(pairs.shape[2:]))
        return control_points.cpu(), ddf.cpu()


def weights_file(path: str | Path | None = None) -> Path:
    """The file that :meth:`Registrar.load` reads of a checkpoint, the folder of a training or a bundle's.

    Raises:
        FileNotFoundError: when there are no weights in the folder.
    """
    path = SHIPPED_WEIGHTS if path is None else Path(path)
    if path.is_dir():
        found = [file for file in (path / "models" / "model.pt", path / "model.pt") if file.is_file()]
        if not found:
            raise FileNotFoundError(f"'{path}' holds no models/model.pt of a bundle and no model.pt of a training")
        path = found[0]
    return path


def _run_apart(moving: sitk.Image, fixed: sitk.Image) -> bool:
    """Whether the axes of two slices that have a place in space are swapped or turned against each other."""
    if moving.GetDimension() != 3 or fixed.GetDimension() != 3:
        return False
    axes = [np.reshape(image.GetDirection(), (3, 3))[:, :2] for image in (moving, fixed)]
    return bool(((axes[0] * axes[1]).sum(0) < 0.5).any())


def _file(image: Image2D) -> Path | None:
    return Path(image) if isinstance(image, str | Path) else None


def _scores(pairs: Tensor, ddf: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """NCC before and after, and folded pixels in %, (B,) each."""
    moving, fixed = pairs[:, :1], pairs[:, 1:]
    return ncc(moving, fixed), ncc(warp(moving, ddf), fixed), folded_percent(ddf)
