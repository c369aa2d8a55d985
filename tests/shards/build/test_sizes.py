import numpy as np
import pytest

from shards.build.gather import RECORD
from shards.build.sizes import common_side, size_findings
from shards.schema import Crop

CELEBA = Crop(178, 218, 25, 57, 128)


@pytest.mark.parametrize(
    ("sizes", "crop", "side"),
    [
        ([(48, 48)] * 5, None, 48),
        ([(64, 80)] * 9 + [(10, 10)], None, 64),
        ([(64, 80)] * 8 + [(10, 12)] * 2, None, 10),
        ([(178, 218)] * 30 + [(89, 109)], Crop(178, 218, 25, 57, 128), 128),
        ([(356, 436)] * 3, Crop(178, 218, 25, 57, 128), 256),
    ],
)
def test_the_resolution_of_a_data_set_is_one_that_nine_of_ten_pictures_have(
    sizes: list[tuple[int, int]], crop: Crop | None, side: int
) -> None:
    widths, heights = np.array(sizes).T
    assert common_side(widths, heights, crop) == side


def found(sizes: list[tuple[int, int]], crop: Crop | None, side: int) -> dict[str, list]:
    records = np.zeros(len(sizes), RECORD)
    records["width"], records["height"] = np.array(sizes).T
    origins = [f"{number}.jpg" for number in range(len(sizes))]
    return {each.reason: each.origins for each in size_findings(records, origins, crop, side)}


def test_pictures_of_another_size_than_the_crop_s_are_named() -> None:
    sizes = [(178, 218), (356, 436), (178, 218), (89, 109)]
    assert found(sizes, CELEBA, 128) == {
        "picture of another size than 178x218": ["1.jpg", "3.jpg"],
        "picture of less than 128x128 after the crop": ["3.jpg"],
    }


def test_pictures_that_have_less_than_the_others_are_named() -> None:
    assert found([(64, 80)] * 20 + [(80, 32)], None, 64) == {
        "picture of less than 64x64 after the crop": ["20.jpg"]
    }
    assert found([(64, 80)] * 20, None, 64) == {}
