"""One thread per process: models this small gain little from a second, and processes that share cores lose much."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
