from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from transforms.mnist import FILES, digit_pairs, digit_stacks, read_idx


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def folder(tmp_path):
    """MNIST's files in small: the training images gzipped, the rest not; each image is filled with its number."""
    for split, count in (("training", 60), ("test", 20)):
        images, labels = FILES[split]
        suffix = ".gz" if split == "training" else ""
        numbers = np.arange(count, dtype=np.uint8)
        write_idx(tmp_path / (images + suffix), np.broadcast_to(numbers[:, None, None], (count, 28, 28)))
        write_idx(tmp_path / (labels + suffix), numbers % 10)
    return tmp_path


def test_a_class_is_split_and_nothing_is_lost(folder):
    stacks = digit_stacks(folder, 3)
    assert {split: len(stack) for split, stack in stacks.items()} == {"training": 5, "validation": 1, "test": 2}
    found = torch.cat([stacks["training"], stacks["validation"]])[:, 0, 0] * 255
    assert sorted(found.round().int().tolist()) == [3, 13, 23, 33, 43, 53]
    assert (stacks["test"][:, 5, 7] * 255).round().int().tolist() == [3, 13]
    assert torch.equal(stacks["validation"], digit_stacks(folder, 3)["validation"])
    seeds = {digit_stacks(folder, 3, seed)["validation"][0, 0, 0].item() for seed in range(20)}
    assert len(seeds) > 1


def test_pairs_go_round(folder):
    stack = digit_stacks(folder, 3)["training"]
    pairs = digit_pairs(stack, 3)
    assert len(pairs) == len(stack)
    assert all(torch.equal(pair["fixed"], pairs[(k + 1) % 5]["moving"]) for k, pair in enumerate(pairs))


def test_without_a_folder_the_small_digits(caplog):
    with caplog.at_level("INFO"):
        stacks = digit_stacks(None, 8)
    assert "scikit-learn" in caplog.text
    assert sum(map(len, stacks.values())) == 174
    assert all(stack.shape[1:] == (28, 28) and 0 <= stack.min() < stack.max() <= 1 for stack in stacks.values())


def test_errors_name_the_file(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="'nowhere' does not exist"):
        digit_stacks("nowhere", 3)
    with pytest.raises(ValueError, match="digit must be 0 to 9, got 10"):
        digit_stacks(folder, 10)
    path = folder / FILES["test"][0]
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte: expected 15680 bytes of data, found 15679"):
        read_idx(path)
    path.write_bytes(b"\x00\x00\x0d\x03" + content[4:])
    with pytest.raises(ValueError, match="is not an idx file of bytes"):
        read_idx(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-images-idx3-ubyte' does not exist, nor"):
        digit_stacks(folder, 3)
    packed = folder / (FILES["training"][0] + ".gz")
    packed.write_bytes(packed.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"ubyte\.gz is not a gzip file, or is damaged"):
        digit_stacks(folder, 3)


@pytest.mark.skipif(not os.environ.get("MNIST_DIR"), reason="MNIST_DIR, the folder of MNIST's files, is not set")
def test_real_mnist():
    stacks = digit_stacks(os.environ["MNIST_DIR"], 1)
    assert {split: len(stack) for split, stack in stacks.items()} == {
        "training": 5619,
        "validation": 1123,
        "test": 1135,
    }
