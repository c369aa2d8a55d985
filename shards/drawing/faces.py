"""Drawn faces: an identity (16 numbers) and an expression make a picture.

The same identity can be drawn in any expression, so the true answer to every synthesis is known. An
expression moves only brows, eyes, nose wrinkles, mouth, cheeks and jaw; the rest belongs to the identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

import numpy as np

from fes.expressions import EXPRESSIONS
from shards.drawing.actions import ACTIONS, Action
from shards.drawing.features import Face
from shards.drawing.portrait import paint_portrait

NUMBERS = (
    "head_width",
    "jaw_shape",
    "hair_style",
    "hair_tone",
    "skin_tone",
    "eye_size",
    "eye_spacing",
    "iris_tone",
    "brow_thickness",
    "nose_shape",
    "mouth_width",
    "lip_fullness",
    "beard",
    "light",
    "pose",
    "background",
)
PIXELS_PER_CHUNK = 48 * 48 * 24  # temporaries of one chunk stay in a core's cache
LUMA = (0.299, 0.587, 0.114)

ACTION_TABLE = np.array([astuple(ACTIONS[name]) for name in EXPRESSIONS], np.float32)

# Tones are RGB in [0, 1]; a number between two rows mixes them.
SKINS = ((0.97, 0.84, 0.76), (0.94, 0.76, 0.63), (0.83, 0.62, 0.47), (0.66, 0.46, 0.33), (0.48, 0.32, 0.23))
HAIRS = (
    (0.09, 0.08, 0.09),
    (0.24, 0.15, 0.10),
    (0.46, 0.24, 0.13),
    (0.62, 0.42, 0.22),
    (0.86, 0.70, 0.42),
    (0.74, 0.73, 0.72),
)
IRISES = ((0.20, 0.12, 0.07), (0.38, 0.24, 0.12), (0.34, 0.40, 0.20), (0.25, 0.42, 0.58), (0.42, 0.50, 0.55))
BACKGROUNDS = (
    (0.25, 0.30, 0.36),
    (0.42, 0.50, 0.48),
    (0.70, 0.62, 0.52),
    (0.66, 0.75, 0.82),
    (0.92, 0.90, 0.86),
)
CLOTHES = ((0.80, 0.74, 0.62), (0.55, 0.25, 0.24), (0.20, 0.30, 0.42), (0.30, 0.36, 0.30), (0.36, 0.30, 0.42))

# top and side: how far hair stands off the head; length: how far it hangs; base: the hairline's height;
# part: where it is parted; notch: how sharply it rises there; drop: how far it comes down at the temples;
# jag: strands along the hairline; curl: bumps on the outline.
STYLE = ("top", "side", "length", "base", "part", "notch", "drop", "jag", "curl")
HAIR_STYLES = (
    # top  side  length base  part   notch drop  jag   curl
    (0.02, 0.01, 0.00, -0.64, 0.00, -0.05, 0.40, 0.00, 0.00),  # cropped
    (0.09, 0.03, 0.00, -0.62, 0.10, 0.05, 0.45, 0.06, 0.01),  # short, brushed up
    (0.11, 0.05, 0.00, -0.66, -0.30, 0.30, 0.45, 0.02, 0.00),  # side parting
    (0.08, 0.08, 0.12, -0.52, 0.00, 0.00, 0.55, 0.05, 0.00),  # full fringe
    (0.10, 0.13, 0.70, -0.60, 0.28, 0.25, 0.95, 0.03, 0.00),  # bob
    (0.09, 0.12, 1.30, -0.72, 0.00, 0.60, 1.00, 0.00, 0.00),  # long, centre parting
    (0.12, 0.19, 1.00, -0.62, -0.10, 0.10, 0.75, 0.04, 0.05),  # long curls
    (0.13, 0.15, 0.15, -0.62, 0.00, -0.05, 0.50, 0.03, 0.05),  # round curls
)


def draw_identities(seed: int, indices: Sequence[int]) -> np.ndarray:
    """Random identities, float32 [n, 16] in [0, 1).

    Row i is a function of (seed, indices[i]) alone, on any platform; both are integers in 0..2^64 - 1
    (OverflowError otherwise).
    """
    # int: numpy's own integers would wrap around in silence
    keys = [np.array([int(seed), int(index)], np.uint64) for index in indices]
    rows = [np.random.Generator(np.random.Philox(key=key)).random(len(NUMBERS), np.float32) for key in keys]
    return np.array(rows, np.float32).reshape(-1, len(NUMBERS))


def render(identities: np.ndarray, labels: np.ndarray, resolution: int, channels: int = 1) -> np.ndarray:
    """Draw each identity with its expression: uint8 [n, resolution, resolution, channels].

    identities: float [n, 16] in [0, 1]; labels: int [n], indices into `EXPRESSIONS`; channels: 1 (grey,
    the luma of the colours) or 3 (RGB). A picture is a continuous function of its own identity, whatever
    else is in the batch. ValueError for any other shape, a label outside 0..6, or other channels.
    """
    identities, labels = np.asarray(identities, np.float32), np.asarray(labels)
    if identities.ndim != 2 or identities.shape[1] != len(NUMBERS):
        raise ValueError(f"identities must be [n, {len(NUMBERS)}], not {list(identities.shape)}")
    if labels.shape != identities.shape[:1]:
        raise ValueError(f"labels must be [{len(identities)}], not {list(labels.shape)}")
    if labels.size and (labels.min() < 0 or labels.max() >= len(EXPRESSIONS)):
        raise ValueError(f"labels must lie in 0..{len(EXPRESSIONS) - 1}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels}")
    pictures = np.empty((len(labels), resolution, resolution, channels), np.uint8)
    chunk = max(1, PIXELS_PER_CHUNK // resolution**2)
    for first in range(0, len(labels), chunk):
        part = slice(first, first + chunk)
        picture = paint_portrait(_face(identities[part], labels[part], channels), resolution)
        np.clip(picture, 0, 1, out=picture)
        picture *= 255
        picture += 0.5
        pictures[part] = np.moveaxis(picture, 0, -1)
    return pictures


def _mix(rows: Sequence[Sequence[float]], position: np.ndarray) -> np.ndarray:
    """The table's rows mixed at position [n] in [0, 1]: float32 [n, columns]."""
    table = np.array(rows, np.float32)
    place = np.clip(position, 0, 1) * np.float32(len(table) - 1)
    row = np.minimum(place.astype(int), len(table) - 2)
    share = (place - row).astype(np.float32)[:, None]
    return table[row] + (table[row + 1] - table[row]) * share


def _face(identities: np.ndarray, labels: np.ndarray, channels: int) -> Face:
    """Look up what the numbers and the labels mean; grey tones are the luma of the colours."""
    number = dict(zip(NUMBERS, identities.T, strict=True))
    action = Action(*ACTION_TABLE[labels].T[:, :, None, None])
    styles = _mix(HAIR_STYLES, number["hair_style"]).T[:, :, None, None]
    colours = _colours(number)
    if channels == 1:
        colours = {k: sum(c[:, i : i + 1] * w for i, w in enumerate(LUMA)) for k, c in colours.items()}
    tones = {k: np.float32(c).T[:, :, None, None] for k, c in colours.items()}
    numbers = {k: np.ascontiguousarray(v)[:, None, None] for k, v in number.items()}
    return Face(action, numbers, dict(zip(STYLE, styles, strict=True)), tones)


def _colours(number: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tone of a face as RGB, float [n, 3]."""
    skin = _mix(SKINS, number["skin_tone"])
    hair = _mix(HAIRS, number["hair_tone"] * (1 - 0.6 * number["skin_tone"]))  # fair hair goes with fair skin
    iris, lip_colour = _mix(IRISES, number["iris_tone"]), np.float32((0.62, 0.16, 0.18))
    made_up = 0.35 * (1 - number["beard"])[:, None]
    lip = (skin * np.float32((0.84, 0.58, 0.55))) * (1 - made_up) + lip_colour * made_up
    fixed = {
        "white": (0.97, 0.97, 0.96),
        "teeth": (0.96, 0.95, 0.91),
        "mouth": (0.22, 0.05, 0.06),
        "tongue": (0.66, 0.28, 0.28),
        "pupil": (0.04, 0.03, 0.04),
    }
    return {
        "skin": skin,
        "shadow": skin * np.float32((0.66, 0.54, 0.50)),
        "crease": skin * np.float32((0.46, 0.33, 0.28)),
        "shine": skin + (1 - skin) * np.float32(0.55),
        "blush": skin * np.float32((1.0, 0.78, 0.76)),
        "lip": lip,
        "lip_dark": lip * np.float32(0.72),
        "lip_shine": lip + (1 - lip) * np.float32(0.35),
        "hair": hair,
        "hair_dark": hair * np.float32((0.65, 0.58, 0.54)),
        "hair_light": hair + (1 - hair) * np.float32(0.3),
        "brow": hair * np.float32((0.50, 0.42, 0.37)),
        "beard": hair * np.float32((0.64, 0.55, 0.5)),
        "lash": hair * np.float32(0.15),
        "iris": iris,
        "iris_dark": iris * np.float32(0.45),
        "clothes": _mix(CLOTHES, number["background"]),
        "background": _mix(BACKGROUNDS, number["background"]),
    } | {name: np.tile(np.float32(rgb), (len(skin), 1)) for name, rgb in fixed.items()}
