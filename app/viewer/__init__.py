"""A page to draw a contour on a cine, follow it through the cycle and judge the result; needs FastAPI."""
