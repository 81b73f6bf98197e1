"""What all tests share: one thread, no screen, the same draws, property tests without a clock."""

import os
import random
import sys

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports matplotlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)  # the same sums on every machine, and room for a second worker
settings.register_profile(
    "deepdrift",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("deepdrift")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Weights that a test draws are the same in every run; a rare draw is no rare failure."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_figure_is_left():
    """Close what a test has drawn, so that no other test sees it."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
