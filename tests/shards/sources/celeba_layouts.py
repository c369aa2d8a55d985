"""Nine made-up pictures of CelebA in each of the layouts that people have, and what is read of them."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from shards.sources.celeba import CelebaSource

ATTRIBUTES = ("5_o_Clock_Shadow", "Male", "Mouth_Slightly_Open", "Smiling", "Young")
SPLITS = ("train", "valid", "test")


def jpeg(number: int, kind: str = "JPEG") -> bytes:
    small = np.random.default_rng(number).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((178, 218)).save(buffer, kind)
    return buffer.getvalue()


PICTURES = {f"{number:06d}.jpg": jpeg(number) for number in range(1, 10)}
PEOPLE = dict(zip(PICTURES, (2880, 2937, 8692, 2880, 8692, 17, 10177, 1, 17), strict=True))
PARTS = dict(zip(PICTURES, (0, 0, 0, 0, 1, 1, 2, 2, 2), strict=True))
FLAGS = {name: [bool(int(name[:6]) & 1 << at) for at in range(5)] for name in PICTURES}
EXPECTED = [
    ("000001.jpg", "train", 2880, ["5_o_Clock_Shadow"]),
    ("000002.jpg", "train", 2937, ["Male"]),
    ("000003.jpg", "train", 8692, ["5_o_Clock_Shadow", "Male"]),
    ("000004.jpg", "train", 2880, ["Mouth_Slightly_Open"]),
    ("000005.jpg", "valid", 8692, ["5_o_Clock_Shadow", "Mouth_Slightly_Open"]),
    ("000006.jpg", "valid", 17, ["Male", "Mouth_Slightly_Open"]),
    ("000007.jpg", "test", 10177, ["5_o_Clock_Shadow", "Male", "Mouth_Slightly_Open"]),
    ("000008.jpg", "test", 1, ["Smiling"]),
    ("000009.jpg", "test", 17, ["5_o_Clock_Shadow", "Smiling"]),
]


def attributes_txt() -> str:
    """As in the release: the count, then the names with a blank behind, -1 and 1 with one blank or two."""
    rows = [f"{name} {' '.join(f'{1 if flag else -1:2d}' for flag in FLAGS[name])}" for name in PICTURES]
    return "\r\n".join([str(len(rows)), " ".join(ATTRIBUTES) + " ", *rows, ""])


def attributes_csv() -> str:
    rows = [",".join([name, *("1" if flag else "-1" for flag in FLAGS[name])]) for name in PICTURES]
    return "\n".join([f"image_id,{','.join(ATTRIBUTES)}", *rows, ""])


def identities_txt() -> str:
    return "".join(f"{name} {who}\n" for name, who in PEOPLE.items())


def partition_txt() -> str:
    return "".join(f"{name} {part}\n" for name, part in PARTS.items())


def partition_csv() -> str:
    return "image_id,partition\n" + "".join(f"{name},{part}\n" for name, part in PARTS.items())


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def put_pictures(folder: Path) -> None:
    for name, content in PICTURES.items():
        put(folder / name, content)


def put_zip(path: Path, inside: str = "img_align_celeba/", others: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(inside), b"")
        for name, content in PICTURES.items():
            archive.writestr(inside + name, content)
        for name, content in (others or {}).items():
            archive.writestr(name, content)


def put_lists(folder: Path, annotations: str = "", partition: str = "") -> None:
    put(folder / annotations / "list_attr_celeba.txt", attributes_txt())
    put(folder / annotations / "identity_CelebA.txt", identities_txt())
    put(folder / partition / "list_eval_partition.txt", partition_txt())


def put_parquet(folder: Path, file_of: Callable[[str, int], str], numbers: bool = False) -> None:
    """One file for each split but train, which has two; rows in groups of two."""
    for number, split in enumerate(SPLITS):
        names = [name for name in PICTURES if PARTS[name] == number]
        halves = [names[:2], names[2:]] if split == "train" else [names]
        for part, half in enumerate(halves):
            columns = {
                "image": pa.array([{"bytes": PICTURES[name], "path": name} for name in half]),
                "celeb_id": pa.array([PEOPLE[name] for name in half], pa.int64()),
            }
            for at, word in enumerate(ATTRIBUTES):
                flags = [FLAGS[name][at] for name in half]
                columns[word] = pa.array([1 if flag else -1 for flag in flags] if numbers else flags)
            path = folder / file_of(split, part)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), path, row_group_size=2)


def put_pictures_beside_lists(root: Path) -> Path:
    """The pictures in a folder, which is returned, with all lists beside it."""
    put_pictures(root / "img_align_celeba")
    put_lists(root)
    return root / "img_align_celeba"


def official(root: Path) -> list[Path]:
    put_zip(root / "Img/img_align_celeba.zip")
    put_lists(root, "Anno", "Eval")
    put(root / "README.txt", "CelebA")
    return [root, root / "Img", root / "Img/img_align_celeba.zip"]


def official_unpacked(root: Path) -> list[Path]:
    put_pictures(root / "Img/img_align_celeba")
    put_zip(root / "Img/img_align_celeba.zip")
    put_lists(root, "Anno", "Eval")
    return [root, root / "Img", root / "Img/img_align_celeba"]


def torchvision(root: Path) -> list[Path]:
    put_pictures(root / "celeba/img_align_celeba")
    put_zip(root / "celeba/img_align_celeba.zip")
    put_lists(root / "celeba")
    return [root, root / "celeba", root / "celeba/img_align_celeba"]


def kaggle_lists() -> dict[str, str]:
    return {
        "list_attr_celeba.csv": attributes_csv(),
        "list_eval_partition.csv": partition_csv(),
        "list_bbox_celeba.csv": "image_id,x_1\n000001.jpg,95\n",
        "identity_CelebA.txt": identities_txt(),
    }


def kaggle(root: Path) -> list[Path]:
    put_pictures(root / "img_align_celeba/img_align_celeba")
    for name, content in kaggle_lists().items():
        put(root / name, content)
    return [root, root / "img_align_celeba", root / "img_align_celeba/img_align_celeba"]


def kaggle_zip(root: Path) -> list[Path]:
    put_zip(root / "archive.zip", "img_align_celeba/img_align_celeba/", kaggle_lists())
    return [root / "archive.zip", root]


def renamed_folder(root: Path) -> list[Path]:
    put_pictures(root / "faces")
    put(root / "faces/.hidden.jpg", b"")
    put(root / "__MACOSX/faces/._000001.jpg", b"")
    put_lists(root)
    return [root, root / "faces"]


def link_to_folder(root: Path) -> list[Path]:
    put_pictures(root / "elsewhere/pictures")
    put_lists(root / "here")
    (root / "here/img_align_celeba").symlink_to(root / "elsewhere/pictures")
    return [root / "here", root / "here/img_align_celeba"]


def zip_with_clutter(root: Path) -> list[Path]:
    clutter = (
        "__MACOSX/img_align_celeba/._000001.jpg",
        "img_align_celeba/.DS_Store",
        "img_align_celeba/a.txt",
    )
    put_zip(root / "img_align_celeba.zip", others=dict.fromkeys(clutter, "x"))
    put_lists(root)
    return [root / "img_align_celeba.zip"]


def hugging_face(root: Path) -> list[Path]:
    put_parquet(root / "img_align+identity+attr", lambda split, part: f"{split}-0000{part}-of-00002.parquet")
    put(root / "README.md", "---")
    return [root, root / "img_align+identity+attr"]


def hugging_face_data(root: Path) -> list[Path]:
    put_parquet(root, lambda split, part: f"data/{split}-0000{part}-of-00002.parquet")
    return [root, root / "data"]


def hugging_face_converted(root: Path) -> list[Path]:
    put_parquet(root, lambda split, part: f"{split}/000{part}.parquet", numbers=True)
    return [root]


LAYOUTS = (
    official,
    official_unpacked,
    torchvision,
    kaggle,
    kaggle_zip,
    renamed_folder,
    link_to_folder,
    zip_with_clutter,
    hugging_face,
    hugging_face_data,
    hugging_face_converted,
)


def told(source: CelebaSource) -> list[tuple]:
    return sorted(
        (sample.origin, sample.split, sample.identity, sample.details.get("attributes"))
        for sample in source.samples
    )


def contents(source: CelebaSource) -> dict[str, bytes]:
    read = source.read(range(len(source.samples)))
    return {sample.origin: content for sample, content in zip(source.samples, read, strict=True)}


def found(source: CelebaSource) -> dict[str, tuple[str, list]]:
    return {finding.reason: (finding.action, finding.origins) for finding in source.findings}
