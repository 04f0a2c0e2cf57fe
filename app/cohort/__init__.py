"""Many studies at once, on one machine or a cluster: ``python -m app.cohort``. Needs the extra ``cohort``."""
