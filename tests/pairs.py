"""Images and their targets, for tests of what compares them."""

import torch


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def some_pairs(*size):
    """Three pairs of one, high and no likeness, of very unequal contrast."""
    target = noise(3, 1, *size)
    likeness = torch.tensor([1.0, 0.7, 0.0]).reshape(3, *[1] * (len(size) + 1))
    image = likeness * target + (1 - likeness) * noise(3, 1, *size, seed=1)
    return image * torch.tensor([0.1, 1.0, 30.0]).reshape(likeness.shape), target
