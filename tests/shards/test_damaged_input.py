"""Whatever is wrong with a file: one sentence or a finding, in seconds; no traceback, no good sample lost."""

import bz2
import contextlib
import gzip
import io
import lzma
import shutil
import signal
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fes.data.stream import Stream
from fes.errors import InputError
from shards import cli
from shards.build.writer import BuildOptions, build
from shards.checks.verify import verify
from shards.drawing.faces import draw_identities, render
from shards.index import ShardIndex
from shards.sources.drawn import DrawnOptions, draw
from tests.shards.made_up import row
from tests.shards.mutations import damaged

SECONDS = 20
SEEDS = range(16)
USAGES = ("Training", "PublicTest", "PrivateTest")
CSV = "\n".join(
    ["emotion,pixels,Usage", *(",".join(row(n, n % 7, USAGES[n % 8 // 6 + n % 8 // 7])) for n in range(16))]
).encode()  # fmt: skip


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """A hang is a failure."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"it took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def exit_code(capsys: pytest.CaptureFixture[str], *words: object) -> int:
    """Of a command; what it cannot use it has told in one sentence."""
    with in_time(), pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    errors = [line for line in capsys.readouterr().err.splitlines() if " %" not in line]
    assert ended.value.code in (0, 1, 2)
    assert len(errors) == (ended.value.code == 2), errors
    return ended.value.code


def faces(count: int) -> np.ndarray:
    """uint8 [count, 48, 48, 1]: drawn people, all neutral."""
    return render(draw_identities(0, range(count)), np.full(count, 6), 48)


def in_zip(files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def in_tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def picture_files(kinds: tuple[str, ...], count: int, **options: object) -> dict[str, bytes]:
    files = {}
    for number, face in enumerate(faces(count)):
        kind, buffer = kinds[number % len(kinds)], io.BytesIO()
        Image.fromarray(face[:, :, 0]).resize((178, 218)).save(buffer, kind, **options)
        files[f"{number + 1:06d}.{'jpg' if kind == 'JPEG' else kind.lower()}"] = buffer.getvalue()
    return files


def matlab_5() -> bytes:
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, tfd_variables())
    return buffer.getvalue()


def tfd_variables() -> dict[str, np.ndarray]:
    labels = np.array([[n % 7 + 1] for n in range(14)], dtype=np.int16)
    folds = np.tile(np.array([[n % 4] for n in range(14)], dtype=np.uint8), (1, 5))
    images = faces(14)[:, :, :, 0]
    return {"images": images, "labs_ex": labels, "labs_id": labels, "folds": folds}


def matlab_7() -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=512) as file:
        for name, values in tfd_variables().items():
            file[name] = values.T
    return buffer.getvalue()


def parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    files = picture_files(("JPEG",), 6)
    table = pyarrow.table(
        {
            "image": [{"bytes": data, "path": name} for name, data in files.items()],
            "celeb_id": list(range(6)),
            "Smiling": [n % 2 == 0 for n in range(6)],
        }
    )
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


FOREIGN = {
    f"{n:09d}.{kind}": data
    for n, picture in enumerate(picture_files(("JPEG", "PNG"), 5).values())
    for kind, data in (("cls", str(n).encode()), ("jpg", picture), ("json", b'{"who": %d}' % n))
}
CLASSES = ("anger", "fear", "happy")
CELEBA = picture_files(("JPEG",), 6)
ATTRIBUTES = "6\nSmiling Young \n" + "".join(f"{name} -1  1\r\n" for name in CELEBA)
INPUTS = {
    "fer2013 fer2013.csv": lambda: CSV,
    "fer2013 fer2013.csv.gz": lambda: gzip.compress(CSV, mtime=0),
    "fer2013 fer2013.csv.bz2": lambda: bz2.compress(CSV),
    "fer2013 fer2013.csv.xz": lambda: lzma.compress(CSV),
    "fer2013 fer2013.zip": lambda: in_zip({"fer2013.csv": CSV}),
    "fer2013 fer2013.tar.gz": lambda: in_tar({"fer2013/fer2013.csv": CSV}, "w:gz"),
    "tfd TFD_48x48.mat": matlab_5,
    "tfd TFD_48x48_v73.mat": matlab_7,
    "celeba img_align_celeba.zip": lambda: in_zip(
        {f"img_align_celeba/{name}": data for name, data in CELEBA.items()}, zipfile.ZIP_STORED
    ),
    "celeba celeba.parquet": parquet,
    "folder faces.zip": lambda: in_zip(
        {
            f"{CLASSES[n % 3]}/{name}": data
            for n, (name, data) in enumerate(picture_files(("JPEG", "PNG", "BMP"), 6).items())
        }
    ),
}
"""The command and the file, by name, and what makes the file."""


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    """The inputs, undamaged."""
    return {name: make() for name, make in INPUTS.items()}


@pytest.mark.parametrize("name", INPUTS)
def test_undamaged_inputs_build(
    whole: dict[str, bytes], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, file = name.split()
    (tmp_path / file).write_bytes(whole[name])
    assert exit_code(capsys, "build", command, "--source", tmp_path / file, "--out", tmp_path / "out") == 0
    assert verify(tmp_path / "out") == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", INPUTS)
def test_a_damaged_file_builds_what_is_left_of_it_or_is_told_in_a_sentence(
    whole: dict[str, bytes], name: str, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, file = name.split()
    (tmp_path / file).write_bytes(damaged(whole[name], seed))
    words = ["--source", tmp_path / file, "--out", tmp_path / "out", "--workers", 1]
    if exit_code(capsys, "build", command, *words) == 0:
        assert verify(tmp_path / "out") == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("file", ["list_attr_celeba.txt", "identity_CelebA.txt", "list_eval_partition.txt"])
def test_a_damaged_list_costs_no_picture(
    file: str, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = {
        "list_attr_celeba.txt": ATTRIBUTES,
        "identity_CelebA.txt": "".join(f"{name} {n}\n" for n, name in enumerate(CELEBA)),
        "list_eval_partition.txt": "".join(f"{name} {n % 3}\n" for n, name in enumerate(CELEBA)),
    }
    for name, data in CELEBA.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / file).write_bytes(damaged(lists[file].encode(), seed))
    words = ["--source", tmp_path, "--out", tmp_path / "out", "--workers", 1]
    if exit_code(capsys, "build", "celeba", *words) == 0:
        assert ShardIndex.load(tmp_path / "out").catalogue.samples == len(CELEBA)


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_votes_are_used_as_far_as_they_go_or_told_in_a_sentence(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    votes = f"Usage,Image name,{names}\n" + "".join(
        f"{line.rpartition(',')[2]},fer{n:07d}.png,10,0,0,0,0,0,0,0,0,0\n"
        for n, line in enumerate(CSV.decode().split("\n")[1:])
    )
    (tmp_path / "fer2013.csv").write_bytes(CSV)
    (tmp_path / "fer2013new.csv").write_bytes(damaged(votes.encode(), seed))
    words = ["--ferplus", tmp_path / "fer2013new.csv", "--out", tmp_path / "out", "--workers", 1]
    exit_code(capsys, "build", "fer2013", "--source", tmp_path / "fer2013.csv", *words)


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_shards_of_others_are_indexed_as_far_as_they_go(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "00000.tar").write_bytes(damaged(in_tar(FOREIGN), seed))
    if exit_code(capsys, "index", tmp_path / "00000.tar", "--out", tmp_path / "out", "--workers", 1) == 0:
        assert verify(tmp_path / "out") == []


# ---- finished shards


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "shards"
    build(draw(DrawnOptions(3, 1, 1)), folder, BuildOptions(samples_per_shard=12, workers=1))
    return folder


def streamed(folder: Path, on_bad_sample: str) -> set[int]:
    """The rows of training that an epoch brings, by the identity and class in their pictures' details."""
    train = ShardIndex.load(folder).split("train")
    stream = Stream([train], seed=0, batch=7, window=16, on_bad_sample=on_bad_sample)
    return {int(batch.image[n].sum()) for batch in (stream[step] for step in range(3)) for n in range(7)}


FINISHED = ("index.json", "index.npy", "report.json", "drawn-train-000000.tar", "drawn-train-000001.tar")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("file", FINISHED)
def test_damaged_shards_are_verified_shown_streamed_and_repaired_without_a_traceback(
    finished: Path, file: str, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "shards"))
    path = folder / file
    path.write_bytes(damaged(path.read_bytes(), seed))
    changed = path.read_bytes() != (finished / file).read_bytes()
    code = exit_code(capsys, "verify", folder, "--workers", 1)
    assert code > 0 or not changed or file == "report.json"
    exit_code(capsys, "show", folder, "--grid", tmp_path / "grid.png")
    for on_bad_sample in ("fail", "skip"):
        with in_time(), contextlib.suppress(InputError):
            streamed(folder, on_bad_sample)
    if exit_code(capsys, "verify", folder, "--repair", "--workers", 1) == 0:
        assert verify(folder) == []


@pytest.mark.parametrize("seed", range(8))
def test_no_sample_but_the_damaged_ones_is_lost_to_the_stream(
    finished: Path, seed: int, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "shards"))
    train = ShardIndex.load(finished).split("train")
    bad = np.random.default_rng(seed).permutation(train.samples)[:4].tolist()
    for at in bad:
        path, place = folder / train.shards[train.where(at)].name, train.places[at]
        data = bytearray(path.read_bytes())
        data[place["image_offset"] + place["image_size"] // 2] ^= 0xFF
        path.write_bytes(data)
    with pytest.raises(InputError, match=r"member 0\d{8}\.png at byte \d+ is not the bytes"):
        streamed(folder, "fail")
    good = {int(train.image(at).sum()) for at in range(train.samples) if at not in bad}
    assert streamed(folder, "skip") == good
    faults = {fault.member for fault in verify(folder)}
    assert faults == {f"0{at:08d}.png" for at in bad}


@pytest.mark.parametrize("seed", range(8))
def test_no_row_but_the_damaged_ones_is_lost_from_a_csv(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, lines = np.random.default_rng(seed), CSV.split(b"\n")
    bad = sorted(rng.permutation(np.arange(1, len(lines)))[:5].tolist())
    for number in bad:
        lines[number] = damaged(lines[number], seed + number).replace(b"\n", b"\x00")
    (tmp_path / "fer2013.csv").write_bytes(b"\n".join(lines))
    words = ["--source", tmp_path / "fer2013.csv", "--out", tmp_path / "out", "--workers", 1]
    assert exit_code(capsys, "build", "fer2013", *words) == 0
    index = ShardIndex.load(tmp_path / "out")
    kept = {
        split.details(at)["row"] for split in map(index.split, index.splits) for at in range(split.samples)
    }
    empty = sum(not line.strip() for line in lines[1:])
    assert len(kept) >= len(lines) - 1 - len(bad)
    assert empty or kept >= {n for n in range(1, len(lines)) if n not in bad}


@pytest.mark.parametrize("seed", range(8))
def test_no_picture_but_the_damaged_ones_is_lost_from_a_folder_or_a_zip(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"happy/{name}": data for name, data in picture_files(("PNG", "JPEG", "BMP"), 9).items()}
    bad = sorted(files)[seed :: len(files) - 5]
    for name in bad:
        files[name] = damaged(files[name], seed)
    for name, data in files.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "faces.zip").write_bytes(in_zip(files))
    for source in ("folder", "faces.zip"):
        out = tmp_path / f"{source}-out"
        words = ["--source", tmp_path / source, "--out", out, "--workers", 1]
        assert exit_code(capsys, "build", "folder", *words) == 0
        train = ShardIndex.load(out).split("train")
        kept = {train.details(at)["file"] for at in range(train.samples)}
        assert kept >= set(files) - set(bad)
