"""What tests of the objectives begin with: untrained networks, pictures of noise, and draws; in float64."""

import pytest

from fes.batch import Batch
from fes.draws import Noise
from fes.model.networks import Networks
from tests.fes.made_up import made_up_batch, made_up_noise
from tests.fes.untrained import networks_of


@pytest.fixture
def networks(tiny_model) -> Networks:
    return networks_of(tiny_model)


@pytest.fixture
def batch(tiny_model) -> Batch:
    return made_up_batch(tiny_model)


@pytest.fixture
def noise(tiny_model) -> Noise:
    return made_up_noise(tiny_model)
