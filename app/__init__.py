"""The programs: command line, viewer, cohorts, experiments, benchmarks, and the MONAI Label app."""

import dirnet  # noqa: F401 (here, before a module of the app loads torch: dirnet says how torch's threads wait)
