"""Training and evaluation by MONAI's and Ignite's engines: what the configs name."""
