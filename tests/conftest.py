"""What holds for every test: no setting of the caller's shell, no flaky deadline."""

import os

import pytest
from hypothesis import settings

# A caller's QSTUDY_RESULTS or QSTUDY_DATA must not decide what the tests read.
for name in [name for name in os.environ if name.startswith("QSTUDY_")]:
    del os.environ[name]

# The same examples on each run, and no time limit each: machines of CI are noisy.
settings.register_profile("qstudy", deadline=None, derandomize=True)
settings.load_profile("qstudy")


@pytest.fixture
def one_thread():
    """One thread of torch, as before afterwards."""
    import torch  # which most tests never need

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
