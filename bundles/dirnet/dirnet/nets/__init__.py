"""Networks: layers, splines, losses, weights, and how they compute for inference. Torch alone, no image files."""
