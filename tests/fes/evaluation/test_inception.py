"""torch-fidelity is called as it wants to be, as far as that can be seen without its network."""

import importlib
import sys

import pytest
import torch

from fes.errors import InputError
from fes.evaluation.distances import frechet_distance
from fes.evaluation.inception import check_inception, inception_figures


@pytest.fixture
def fidelity():
    try:
        return importlib.import_module("torch_fidelity")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torch-fidelity cannot be imported: {error}")


def pictures(count: int, brightest: int, channels: int = 1) -> torch.Tensor:
    rng = torch.Generator().manual_seed(count)
    return torch.randint(0, brightest, (count, channels, 8, 8), generator=rng, dtype=torch.uint8)


def test_the_distances_are_those_of_the_network_that_is_asked(fidelity):
    class Corner(fidelity.FeatureExtractorBase):
        """Features that need no download: some pixels."""

        def __init__(self, name: str, features: list[str], **_: object) -> None:
            super().__init__(name, features)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("corner",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "corner"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
            assert (image.dtype, image.shape[1]) == (torch.uint8, 3)
            return (image[:, 0, :2, :2].flatten(1).double(),)

    fidelity.register_feature_extractor("corner", Corner)
    drawn, real = pictures(60, 256), pictures(50, 200)
    found = inception_figures(drawn, real, "corner")
    assert found.keys() == {"inception_fid", "inception_kid"}
    corners = [each[:, 0, :2, :2].flatten(1).double().numpy() for each in (drawn, real)]
    assert found["inception_fid"] == pytest.approx(frechet_distance(*corners), rel=1e-6)


def test_a_network_that_cannot_be_downloaded_is_one_sentence(fidelity, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(InputError, match=r"cannot download its network .*hub/checkpoints") as caught:
        inception_figures(pictures(4, 256), pictures(4, 256))
    assert "\n" not in str(caught.value)


def test_a_missing_library_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(InputError, match=r"--torch-fidelity needs torch-fidelity .*'fes\[fidelity\]'"):
        check_inception()
