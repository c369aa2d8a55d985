"""Pictures as arrays and as files."""

import numpy as np
import pytest
import torch
from PIL import Image

from fes.errors import InputError
from fes.pictures import as_image, read_picture, sheet, to_float, to_uint8, write_picture
from shards.build.writer import BuildOptions, build
from shards.index import ShardIndex
from shards.sources.folder import read_folder


def gradient(height: int, width: int) -> np.ndarray:
    """Grey from black on the left to white on the right, uint8 [height, width]."""
    return np.tile(np.linspace(0, 255, width).round().astype(np.uint8), (height, 1))


def quarters(size: int = 64) -> Image.Image:
    """Red and green above, blue and white below."""
    pixels = np.zeros((size, size, 3), np.uint8)
    half = size // 2
    pixels[:half, :half, 0] = pixels[:half, half:, 1] = pixels[half:, :half, 2] = 255
    pixels[half:, half:] = 255
    return Image.fromarray(pixels)


def saved(image: Image.Image, path, **options) -> object:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_256_values_come_back_from_float_unchanged(dtype):
    image = torch.arange(256, dtype=torch.uint8)
    x = to_float(image, dtype)
    assert x.dtype == dtype
    assert (x[0], x[255]) == (-1.0, 1.0)
    assert torch.equal(to_uint8(x), image)
    assert torch.equal(image, torch.arange(256, dtype=torch.uint8))


def test_float_is_rounded_and_clipped_and_left_as_it_is():
    x = torch.tensor([-3.0, -1.0, -0.001, 0.001, 1.0, 7.0])
    before = x.clone()
    assert to_uint8(x).tolist() == [0, 0, 127, 128, 255, 255]
    assert torch.equal(x, before)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_lossless_picture_of_the_right_size_is_read_as_it_is(tmp_path, channels):
    shape = (48, 48) if channels == 1 else (48, 48, 3)
    pixels = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    picture = read_picture(saved(Image.fromarray(pixels), tmp_path / "a.png"), 48, channels)
    assert (picture.dtype, picture.shape) == (np.uint8, (channels, 48, 48))
    assert np.array_equal(np.asarray(as_image(picture)), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_every_mode_are_read_alike(tmp_path, mode, channels):
    ending = "tiff" if mode in ("CMYK", "YCbCr") else "png"
    black_and_white = Image.fromarray(np.repeat(np.repeat(np.uint8([[0, 255], [255, 0]]), 32, 0), 32, 1))
    path = saved(black_and_white.convert("RGB").convert(mode), tmp_path / f"a.{ending}")
    picture = read_picture(path, 48, channels).astype(int)
    assert picture.shape == (channels, 48, 48)
    assert picture[:, 5:15, 5:15].max() < 10
    assert picture[:, 5:15, 33:43].min() > 245


def test_a_picture_of_16_bits_keeps_its_greys(tmp_path):
    deep = (gradient(64, 64).astype(np.uint16) << 8) + 17
    for ending in ("png", "tiff"):
        path = saved(Image.fromarray(deep), tmp_path / f"a.{ending}")
        for channels in (1, 3):
            assert np.array_equal(read_picture(path, 64, channels)[-1], gradient(64, 64))


def test_colours_stay_in_their_places(tmp_path):
    picture = read_picture(saved(quarters(), tmp_path / "a.png"), 48, 3)
    corners = picture[:, [5, 5, 42, 42], [5, 42, 5, 42]].T
    assert corners.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]


@pytest.mark.parametrize(("mark", "turns"), [(3, 2), (6, 3), (8, 1)])
def test_rotation_marks_of_cameras_are_obeyed(tmp_path, mark, turns):
    marks = Image.Exif()
    marks[0x0112] = mark
    path = saved(quarters(), tmp_path / "a.png", exif=marks)
    upright = read_picture(saved(quarters(), tmp_path / "b.png"), 48, 3)
    turned = np.rot90(upright, turns, axes=(1, 2)).astype(int)
    assert np.abs(read_picture(path, 48, 3) - turned).max() <= 4  # resizing rounds along one axis first


@pytest.mark.parametrize("size", [(200, 100), (100, 200)])
def test_a_picture_that_is_not_square_is_cut_to_its_central_square(tmp_path, size):
    width, height = size
    pixels = np.full((height, width), 255, np.uint8)
    top, left = (height - 100) // 2, (width - 100) // 2
    pixels[top : top + 100, left : left + 100] = 100
    picture = read_picture(saved(Image.fromarray(pixels), tmp_path / "a.png"), 48, 1)
    assert (picture[:, 4:44, 4:44] == 100).all()  # what was cut off shines through at the rim
    assert picture.max() < 120


def test_a_square_of_a_picture_is_read_upright(tmp_path):
    path = saved(Image.fromarray(gradient(100, 200)), tmp_path / "a.png")
    assert np.array_equal(read_picture(path, 48, 1, (30, 20, 48))[0], gradient(100, 200)[20:68, 30:78])
    turned, exif = Image.fromarray(gradient(100, 200)), Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, so that it is 100 wide and 200 high
    turned.save(tmp_path / "b.png", exif=exif)
    upright = np.rot90(gradient(100, 200), -1)
    assert np.array_equal(read_picture(tmp_path / "b.png", 48, 1, (20, 130, 48))[0], upright[130:178, 20:68])


@pytest.mark.parametrize("square", [(-1, 0, 48), (0, -1, 48), (0, 0, 0), (160, 0, 48), (0, 60, 48)])
def test_a_square_beyond_a_picture_is_one_sentence(tmp_path, square):
    path = saved(Image.fromarray(gradient(100, 200)), tmp_path / "a.png")
    with pytest.raises(InputError, match=r"does not lie in .*a\.png, which is 200 pixels wide and 100 high$"):
        read_picture(path, 48, 1, square)


def test_a_small_picture_is_enlarged(tmp_path):
    path = saved(Image.fromarray(gradient(10, 10)), tmp_path / "a.png")
    row = read_picture(path, 96, 1)[0, 50].astype(int)
    assert (np.diff(row) >= -1).all()
    assert row[0] < 10 < 245 < row[-1]


def test_a_picture_file_is_read_as_the_shards_that_hold_it_are(tmp_path):
    marks = Image.Exif()
    marks[0x0112] = 6
    folder = tmp_path / "faces" / "train" / "happy"
    folder.mkdir(parents=True)
    clear = quarters(70)
    clear.putalpha(Image.fromarray(gradient(70, 70)))
    clear.save(folder / "clear.png")
    quarters(100).crop((0, 0, 100, 60)).save(folder / "turned.jpg", exif=marks, quality=90)
    Image.fromarray(gradient(64, 80).astype(np.uint16) << 8).save(folder / "deep.png")
    quarters(90).convert("P").save(folder / "palette.png")
    quarters(66).convert("CMYK").save(folder / "printed.jpg")
    build(read_folder(tmp_path / "faces"), tmp_path / "data", BuildOptions(workers=1))
    train = ShardIndex.load(tmp_path / "data").split("train")
    assert train.samples == 5
    for channels in (1, 3):
        sized = train.sized(48, channels)
        held = {sized.image(position).tobytes() for position in range(train.samples)}
        assert {read_picture(path, 48, channels).tobytes() for path in folder.iterdir()} == held


def test_what_is_no_picture_is_one_sentence(tmp_path, face_png):
    (tmp_path / "note.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "half.png").write_bytes(face_png.read_bytes()[:-300])
    for name in ("note.png", "empty.png", "half.png", "."):
        with pytest.raises(InputError, match=r"cannot be read( as a picture|: Is a directory)") as caught:
            read_picture(tmp_path / name, 48, 1)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"no picture at .*none.png"):
        read_picture(tmp_path / "none.png", 48, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_has_its_pictures_in_rows_and_columns(channels):
    rows = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1) * 40
    page = np.asarray(sheet(np.broadcast_to(rows, (2, 3, channels, 10, 10))).convert("L"))
    assert page.shape == (2 * 14 - 4, 3 * 14 - 4)
    for r in range(2):
        for c in range(3):
            assert (page[r * 14 : r * 14 + 10, c * 14 : c * 14 + 10] == (3 * r + c) * 40).all()
    assert (page[10:14] == 255).all()
    assert (page[:, 10:14] == 255).all()


def test_captions_stand_above_their_columns_and_tiles_are_enlarged():
    rows = np.zeros((1, 2, 1, 48, 48), np.uint8)
    page = np.asarray(sheet(rows, ("left", ""), tile=100))
    assert page.shape == (18 + 100, 2 * 104 - 4)
    assert (page[18:, :100] == 0).all()
    assert page[:18, :100].min() < 128  # letters
    assert page[:18, 104:].min() == 255


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_a_picture_is_written_in_the_format_of_its_ending_and_its_folder_made(tmp_path, ending):
    path = tmp_path / "new" / f"a.{ending}"
    write_picture(quarters(), path)
    with Image.open(path) as image:
        assert image.format == {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[ending]


def test_little_is_lost_of_a_photograph_that_is_written_as_jpeg(tmp_path):
    smooth = np.asarray(Image.radial_gradient("L"))
    pixels = np.stack([smooth, smooth.T, 255 - smooth], 2)
    write_picture(Image.fromarray(pixels), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 1.0


@pytest.mark.parametrize("name", ["a", "a.xyz", "file/a.png", "folder.png"])
def test_a_picture_that_cannot_be_written_is_one_sentence(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=r"cannot write the picture .*: \w+"):
        write_picture(quarters(), tmp_path / name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder.png"]
