"""Pictures per second out of the same shards: plain webdataset beside fes, and the decoders of a JPEG."""

import contextlib
import io
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import simplejpeg
import webdataset
from PIL import Image

from fes.config import Config
from fes.data.decoded import DecodedSplit, decode_to
from fes.data.reading import Samples
from fes.data.stream import Stream
from fes.machine import cores
from shards.index import Split
from shards.pictures import decode_picture
from shards.sources.celeba import FACE

PLAIN = "webdataset"
UNTIMED_SECONDS = 0.25  # to empty what a process has read ahead while it was another reader's turn

Rates = dict[str, list[float]]
"""Pictures per second of each reader, round by round."""
Reader = Callable[[int, int], Iterator[Sequence]]
"""Batch size, processes that read ahead -> batches without end."""


def compare(readers: dict[str, Iterator], each: int, rounds: int, seconds: float) -> Rates:
    """Times iterators in turn, `rounds` times `seconds` each; what they yield holds `each` pictures."""
    rates: Rates = {name: [] for name in readers}
    with contextlib.ExitStack() as opened:
        for items in readers.values():
            opened.enter_context(contextlib.closing(items))
        for _ in range(rounds):
            for name, items in readers.items():
                _rate(items, UNTIMED_SECONDS)
                rates[name].append(each * _rate(items, seconds))
    return rates


def _rate(items: Iterator, seconds: float) -> float:
    start = time.perf_counter()
    for count in itertools.count(1):
        next(items)
        passed = time.perf_counter() - start
        if passed >= seconds:
            return count / passed


def times_plain(rates: Rates, name: str) -> float:
    """How many times as fast as plain webdataset: the median of the ratios of neighbours in time."""
    return statistics.median(own / other for own, other in zip(rates[name], rates[PLAIN], strict=True))


def webdataset_grey(urls: list[str], batch: int, workers: int) -> Iterator[tuple]:
    """Grey pictures [batch, height, width] and labels, by webdataset's own pipeline."""
    pipeline = webdataset.WebDataset(urls, shardshuffle=False).decode("l8").to_tuple("png", "cls")
    return _loaded(pipeline, batch, workers)


def webdataset_faces(urls: list[str], batch: int, workers: int) -> Iterator[tuple]:
    """The faces of CelebA, RGB [batch, 128, 128, 3], and labels, by webdataset's own pipeline and Pillow."""
    pipeline = webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("jpg", "cls")
    return _loaded(pipeline.map_tuple(_face), batch, workers)


def _face(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.crop((FACE.left, FACE.top, FACE.left + FACE.side, FACE.top + FACE.side)))


def _loaded(pipeline: webdataset.WebDataset, batch: int, workers: int) -> Iterator[tuple]:
    batches = pipeline.batched(batch, partial=False).repeat()
    yield from webdataset.WebLoader(batches, batch_size=None, num_workers=workers)


def fes_stream(samples: Samples, batch: int, workers: int) -> Iterator[tuple]:
    """What a run on one rank reads: samples and their partners, shuffled."""
    stream = Stream([samples], seed=0, batch=batch, window=Config.shuffle_window)
    return stream.batches(0, workers)


def readers_of(split: Split, decoded: Path, plain: Callable) -> dict[str, Reader]:
    """Plain webdataset, fes, and fes with the cache of decoded pictures, which is made here."""
    urls = [f"{split.place}/{shard.name}" for shard in split.shards]
    shape = split.channels, split.resolution, split.resolution
    decode_to(decoded, split, shape, workers=cores())
    return {
        PLAIN: partial(plain, urls),
        "fes": partial(fes_stream, split),
        "fes, decoded": partial(fes_stream, DecodedSplit(split, decoded, shape)),
    }


def decoders(pictures: list[bytes], side: int) -> dict[str, Iterator[np.ndarray]]:
    """Ways to the pixels of JPEG files, again and again; the last crops them, too."""
    ways = {
        "Pillow": _pillow,
        f"Pillow, draft for {side} px": partial(_pillow_draft, side=side),
        "simplejpeg": simplejpeg.decode_jpeg,
        "fes: simplejpeg, cropped": partial(decode_picture, resolution=side, channels=3, crop=FACE),
    }
    return {name: _repeated(decode, pictures) for name, decode in ways.items()}


def _repeated(decode: Callable[[bytes], np.ndarray], pictures: list[bytes]) -> Iterator[np.ndarray]:
    yield from map(decode, itertools.cycle(pictures))


def _pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def _pillow_draft(data: bytes, side: int) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (side, side))
    return np.asarray(image)
