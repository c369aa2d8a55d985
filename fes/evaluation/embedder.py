"""Any network in an ONNX file that turns a face into a vector, for telling people apart."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fes.errors import InputError
from fes.pictures import as_image

BATCH = 64
"""Pictures at once, where the network takes any number."""


class OnnxEmbedder:
    """A network that reads float32 [batch, channels, height, width], or the channels last, in [-1, 1].

    What it reads is told by its file: 1 channel (grey) or 3 (RGB), and the size that pictures are brought to.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            InputError: onnxruntime is not installed, the file is no network, or it reads no pictures.
        """
        self.path, self._session = path, _session(path)
        told = self._session.get_inputs()
        if len(told) != 1 or told[0].type != "tensor(float)" or len(told[0].shape) != 4:
            inputs = "; ".join(f"{each.name}: {each.type} {each.shape}" for each in told)
            raise InputError(
                f"{path} reads {inputs}: an embedder reads one tensor of float32 pictures, "
                "[batch, channels, height, width] or [batch, height, width, channels]"
            )
        self._name = told[0].name
        batch, *shape = told[0].shape
        self._fixed = isinstance(batch, int)
        self._batch = batch if self._fixed else BATCH
        self._channels_last = shape[0] not in (1, 3)
        self._channels = shape[2 if self._channels_last else 0]
        self._size = tuple(reversed(shape[:2] if self._channels_last else shape[1:]))  # as Pillow has it
        if self._channels not in (1, 3) or not all(isinstance(side, int) and side > 0 for side in self._size):
            raise InputError(
                f"{path} reads pictures of shape {shape}: an embedder has 1 or 3 channels, and a height "
                "and a width that are fixed"
            )

    def embed(self, image: Tensor) -> np.ndarray:
        """uint8 [batch, channels, height, width] -> float32 [batch, numbers].

        Raises:
            InputError: the network fails on a picture.
        """
        pictures = np.stack([self._picture(each) for each in image.numpy()])
        parts = [
            self._run(pictures[start : start + self._batch]) for start in range(0, len(pictures), self._batch)
        ]
        return np.concatenate(parts)

    def _picture(self, picture: np.ndarray) -> np.ndarray:
        image = as_image(picture).convert("L" if self._channels == 1 else "RGB")
        pixels = np.asarray(image.resize(self._size, Image.Resampling.BILINEAR), np.float32) / 127.5 - 1
        pixels = pixels.reshape(*pixels.shape[:2], self._channels)
        return pixels if self._channels_last else pixels.transpose(2, 0, 1)

    def _run(self, pictures: np.ndarray) -> np.ndarray:
        # A network of a fixed batch gets its last one filled up.
        missing = self._batch - len(pictures) if self._fixed else 0
        filled = np.concatenate([pictures, np.repeat(pictures[-1:], missing, axis=0)])
        try:
            (vectors, *_) = self._session.run(None, {self._name: filled})
        except Exception as error:  # onnxruntime has a class of its own for each fault
            raise InputError(f"{self.path} fails on a picture: {_in_one_line(error)}") from None
        vectors = np.asarray(vectors, np.float32)
        if len(vectors) != len(filled):
            raise InputError(
                f"{self.path} gives {len(vectors)} rows for {len(filled)} pictures: it is no embedder"
            )
        return vectors.reshape(len(vectors), -1)[: len(pictures)]


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(
            "an embedder needs onnxruntime: pip install 'fes[onnx]', or leave --identity out for eigenfaces"
        ) from None
    if not path.is_file():
        raise InputError(f"no embedder at {path}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise InputError(f"{path} is no ONNX network that can be used: {_in_one_line(error)}") from None


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
