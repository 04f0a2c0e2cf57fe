"""Displacement fields and masks: warp, compose, invert, folds, overlap. Torch and NumPy alone."""
