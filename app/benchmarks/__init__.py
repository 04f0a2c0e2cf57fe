"""What the parts cost on this machine, each beside what it is compared with: ``python -m app.benchmarks --help``."""
