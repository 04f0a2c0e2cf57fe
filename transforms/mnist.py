"""MNIST's handwritten digits to stacks of one class, which pair as the frames of a cine do."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import InputError

__all__ = ["SIZE", "digit_pairs", "digit_stacks", "read_idx", "stacks_of_digits"]

SIZE = 28
FILES = {
    "training": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

logger = logging.getLogger(__name__)


def digit_stacks(dataset_dir: str | Path | None, digit: int, seed: int = 0) -> dict[str, Tensor]:
    """:func:`stacks_of_digits` of one digit."""
    return stacks_of_digits(dataset_dir, [digit], seed)[digit]


def stacks_of_digits(
    dataset_dir: str | Path | None, digits: Iterable[int], seed: int = 0
) -> dict[int, dict[str, Tensor]]:
    """All images of each digit, float32 (N, 28, 28) in [0, 1], by split: "training", "validation" and "test".

    Validation is a sixth of the training digits, drawn by the seed; the test digits are MNIST's.

    Args:
        dataset_dir: folder of the four idx files, gzipped or not. Without it, the 1,797 digits of 8x8 that scikit-learn
            ships, brought to 28x28; a sixth of them, by their order, is the test split.
        digits: of 0 to 9.
        seed: of the validation split.

    Raises:
        FileNotFoundError: when there is no such folder, or a file is missing in it.
        ValueError: when a file is no idx file of this kind, or the digit is none.
    """
    wanted = list(digits)
    for digit in wanted:
        if digit not in range(10):
            raise InputError(f"digit must be 0 to 9, got {digit!r}")
    if dataset_dir is None:
        logger.info("no dataset_dir (nor MNIST_DIR) given: using the small digits that scikit-learn ships")
        splits = _small_digits()
    else:
        splits = {split: _read_split(Path(dataset_dir), split) for split in FILES}
    return {digit: _stacks(splits, digit, seed) for digit in wanted}


def _stacks(splits: Mapping[str, tuple[np.ndarray, np.ndarray]], digit: int, seed: int) -> dict[str, Tensor]:
    stacks = {
        split: torch.from_numpy(images[labels == digit].astype(np.float32) / 255)
        for split, (images, labels) in splits.items()
    }
    order = np.random.default_rng(seed).permutation(len(stacks["training"]))
    held_out = len(order) // 6
    return {
        "training": stacks["training"][order[held_out:]],
        "validation": stacks["training"][order[:held_out]],
        "test": stacks["test"],
    }


def digit_pairs(stack: Tensor, digit: int) -> list[dict[str, Any]]:
    """Each image of a stack (N, 28, 28) as moving with the one after it as fixed, the last with the first.

    Keys as of :class:`transforms.pairing.PairPhasesd`, as far as a validation reads them; the strokes of the digit
    stand for the lumen.
    """
    pairs = []
    for number, (moving, fixed) in enumerate(zip(stack, stack.roll(-1, 0), strict=True)):
        images = {"moving": moving[None], "fixed": fixed[None]}
        strokes = {f"{role}_lumen": (image > 0.5).to(torch.uint8) for role, image in images.items()}
        pairs.append({**images, **strokes, "patient": f"digit {digit}", "slice": number, "direction": ""})
    return pairs


def read_idx(path: str | Path) -> np.ndarray:
    """An idx file of bytes, gzipped or not, as uint8 of the shape that it states.

    Raises:
        FileNotFoundError: when neither it nor it with ".gz" exists.
        ValueError: when it is no such file, or is cut short.
    """
    path = Path(path)
    found = [candidate for candidate in (path, path.with_name(path.name + ".gz")) if candidate.is_file()]
    if not found:
        raise FileNotFoundError(f"'{path}' does not exist, nor '{path.name}.gz'; expected MNIST's four idx files")
    try:
        content = gzip.decompress(found[0].read_bytes()) if found[0].suffix == ".gz" else found[0].read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{found[0]} is not a gzip file, or is damaged") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise InputError(f"{found[0]} is not an idx file of bytes")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise InputError(f"{found[0]} is cut short")
    shape = np.frombuffer(content[4:start], ">u4").astype(int)
    if len(content) - start != shape.prod():
        raise InputError(f"{found[0]}: expected {shape.prod()} bytes of data, found {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read_split(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    if not folder.is_dir():
        raise FileNotFoundError(f"dataset_dir '{folder}' does not exist; expected a folder of MNIST's four idx files")
    images, labels = (read_idx(folder / name) for name in FILES[split])
    if images.ndim != 3 or images.shape[1:] != (SIZE, SIZE) or labels.shape != images.shape[:1]:
        raise InputError(
            f"{folder}: expected images (N, {SIZE}, {SIZE}) and N labels as {FILES[split]}, "
            f"found {images.shape} and {labels.shape}"
        )
    return images, labels


def _small_digits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    from sklearn.datasets import load_digits  # an extra's, and only here

    digits = load_digits()
    large = torch.nn.functional.interpolate(
        torch.from_numpy(digits.images).float()[:, None] * (255 / 16), scale_factor=3, mode="bilinear"
    )
    images = torch.nn.functional.pad(large[:, 0], [2, 2, 2, 2]).round().numpy().astype(np.uint8)
    first_test = len(images) * 5 // 6
    return {
        "training": (images[:first_test], digits.target[:first_test]),
        "test": (images[first_test:], digits.target[first_test:]),
    }
