"""True FID and KID, in the features of the Inception network, by torch-fidelity; an optional extra."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from fes.errors import InputError

NETWORK = "inception-v3-compat"
"""torch-fidelity's name for the network of the original FID."""
SUBSET = 1000
"""Most pictures of a subset on which KID is estimated."""


class _Rgb(Dataset):
    """Pictures as torch-fidelity reads them: uint8 [3, height, width]."""

    def __init__(self, image: Tensor) -> None:
        self._image = image.expand(-1, 3, -1, -1)

    def __len__(self) -> int:
        return len(self._image)

    def __getitem__(self, at: int) -> Tensor:
        return self._image[at]


def check_inception() -> None:
    """Raises `InputError` where torch-fidelity is not installed, or not for this torch."""
    try:
        import torch_fidelity  # noqa: F401 (whether it can be imported is the question)
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"--torch-fidelity needs torch-fidelity ({reason}): pip install 'fes[fidelity]'"
        ) from None


def inception_figures(drawn: Tensor, real: Tensor, network: str = NETWORK) -> dict[str, float]:
    """`inception_fid` and `inception_kid` between two sets of pictures, uint8 [n, channels, height, width].

    Both sets are small beside the 10,000 and more that papers take: that biases FID upwards, and not KID.

    Raises:
        InputError: the network cannot be downloaded.
    """
    from torch_fidelity import calculate_metrics

    try:
        found = calculate_metrics(
            input1=_Rgb(drawn),
            input2=_Rgb(real),
            fid=True,
            kid=True,
            kid_subset_size=min(SUBSET, len(drawn), len(real)),
            feature_extractor=network,
            cuda=torch.cuda.is_available(),
            save_cpu_ram=True,  # no workers: the pictures are in memory
            cache=False,
            verbose=False,
        )
    except OSError as error:
        raise InputError(
            f"torch-fidelity cannot download its network ({error}): copy the file that it names into "
            "hub/checkpoints of $TORCH_HOME, ~/.cache/torch if that is not set, from a machine with a network"
        ) from None
    return {
        "inception_fid": float(found["frechet_inception_distance"]),
        "inception_kid": float(found["kernel_inception_distance_mean"]),
    }
