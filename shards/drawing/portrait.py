"""The layers of a drawn face, painted back to front.

Here are background, neck, ears, head and hair, which belong to the identity; `features` has the rest.
"""

from __future__ import annotations

import numpy as np

from shards.drawing.features import Face, paint_brows, paint_cheeks, paint_eyes, paint_mouth, paint_nose
from shards.drawing.strokes import Canvas, cover, ellipse, glow, wave

WIDEST_Y = -0.05  # where the head is widest


def paint_portrait(face: Face, resolution: int) -> np.ndarray:
    """The picture of each face, float32 [channels, n, resolution, resolution], in about [0, 1]."""
    canvas = blank_canvas(face, resolution)
    strands = _strands(canvas, face)
    mane = _back_hair(canvas, face, strands)
    _neck(canvas, face)
    _ears(canvas, face)
    skull = _head(canvas, face)
    paint_cheeks(canvas, face)
    paint_nose(canvas, face)
    paint_mouth(canvas, face)
    paint_eyes(canvas, face)
    _front_hair(canvas, face, strands, mane, skull)
    paint_brows(canvas, face)
    return canvas.picture


def blank_canvas(face: Face, resolution: int) -> Canvas:
    """The background, and the frame's pixel centres in the coordinates of the (rolled, shifted) face."""
    roll = face.measure("pose", -0.08, 0.08)
    shift = 0.03 * (1 - 2 * np.abs(face.numbers["pose"] * 3 % 2 - 1))  # to and fro as the head rolls over
    zoom = face.measure("head_width", 1.03, 0.97) * face.measure("jaw_shape", 0.98, 1.02)
    line = (np.arange(resolution, dtype=np.float32) + 0.5) * np.float32(2 / resolution) - 1
    right, down = line[None, None, :] - shift, line[None, :, None]
    sine, cosine = roll * zoom, (1 - roll * roll / 2) * zoom
    x, y = cosine * right + sine * down, cosine * down - sine * right
    lit = 0.93 - 0.12 * line[None, :, None] + 0.11 * face.light * line[None, None, :]
    return Canvas(face.tones["background"] * lit, x, y, zoom * np.float32(2 / resolution))


def _strands(canvas: Canvas, face: Face) -> np.ndarray:
    """Uneven waves in [-1, 1] that fan out from above the parting."""
    fan = canvas.x - face.hair["part"]
    fan /= np.maximum(canvas.y + 1.8, 0.4)
    broad = fan * 6.1
    broad += 0.7
    fan *= 15
    return wave(fan) * 0.55 + wave(broad) * 0.45


def _back_hair(canvas: Canvas, face: Face, strands: np.ndarray) -> np.ndarray:
    """Paint all hair as a dark mass behind the head; returns its coverage."""
    hair = face.hair
    hang = canvas.y + 0.12
    nape = np.maximum(hang - hair["length"], 0) * 1.6
    hang = np.minimum(hang, 0) + nape
    bumps = wave(canvas.x * 4.3 + 0.5)
    bumps *= wave(canvas.y * 4.3)
    bumps *= hair["curl"]
    bumps += 1
    reach, rise = face.width + 0.01 + hair["side"], 0.72 + hair["top"]
    coverage = ellipse(canvas.x * bumps, hang * bumps, reach, rise, canvas.pixel)
    canvas.paint(coverage, face.tones["hair_dark"])
    canvas.paint(np.maximum(strands, 0) * coverage * 0.2, face.tones["hair"])
    return coverage


def _neck(canvas: Canvas, face: Face) -> None:
    tones = face.tones
    with canvas.window(0.4, 1.2, 1.2) as part:
        across = np.abs(part.x)
        neck = cover(across - face.width * 0.64, part.pixel)
        neck *= cover(0.4 - part.y, part.pixel)
        part.paint(neck, tones["skin"])
        part.paint(neck * glow(part.x, part.y - 0.62, face.width * 1.2, 0.48) * 0.9, tones["crease"])
        collar = ellipse(part.x, part.y - 1.3, 1.2, 0.46, part.pixel)
        collar *= 1 - ellipse(part.x, part.y - 0.80, face.width * 0.68, 0.2, part.pixel)
        part.paint(collar, tones["clothes"])


def _ears(canvas: Canvas, face: Face) -> None:
    with canvas.window(-0.2, 0.25, 1.0) as part:
        aside, down = np.abs(part.x) - face.width, part.y - 0.03
        part.paint(ellipse(aside - 0.01, down, 0.09, 0.17, part.pixel), face.tones["skin"])
        part.paint(ellipse(aside - 0.02, down, 0.045, 0.11, part.pixel) * 0.8, face.tones["shadow"])


def _head(canvas: Canvas, face: Face) -> np.ndarray:
    """The head's form, a squarish oval that tapers to the chin, lit from one side; returns its coverage."""
    jaw = face.numbers["jaw_shape"]
    down = canvas.y - WIDEST_Y
    low = np.maximum(down, 0) * (1 / (0.93 + face.action.jaw))
    down = np.minimum(down, 0) * (1 / 0.78) + low
    across = canvas.x / (face.width * (1 - (0.36 - 0.24 * jaw) * low * low))
    across2, down2 = across * across, down * down
    level = across2 + down2 - (0.15 + 0.5 * jaw) * across2 * low * low
    slope = np.sqrt(across2 / 0.5 + down2 / 0.8 + 1e-6) * 2
    skull = cover((level - 1) / slope, canvas.pixel)
    canvas.paint(skull, face.tones["skin"])
    shade = np.clip(level * 0.42 - 0.12 - 0.30 * face.light * across + 0.12 * down, 0, 0.85)
    canvas.paint(shade * skull, face.tones["shadow"])
    _beard(canvas, face, level, low, skull)
    return skull


def _beard(canvas: Canvas, face: Face, level: np.ndarray, low: np.ndarray, skull: np.ndarray) -> None:
    growth = np.clip((level - 0.78 + 0.5 * low) * 6, 0, 1) * np.clip(low * 8 - 0.4, 0, 1)
    growth += glow(canvas.x, canvas.y - 0.42 - face.action.jaw * 0.2, 0.40, 0.15) * 0.9
    growth = np.minimum(growth, 1) * skull
    canvas.paint(growth * np.clip(face.numbers["beard"] * 3 - 1.9, 0, 0.85), face.tones["beard"])


def _front_hair(canvas: Canvas, face: Face, strands: np.ndarray, mane: np.ndarray, skull: np.ndarray) -> None:
    """The hair above the hairline, its shadow on the face and its gleam."""
    hair, tones = face.hair, face.tones
    aside, temple = canvas.x - hair["part"], canvas.x / face.width
    temple *= temple
    temple *= temple
    line = hair["base"] - 0.04 + hair["notch"] * np.sqrt(aside * aside + 0.01)
    line += hair["drop"] * np.minimum(temple, 3)
    line += hair["jag"] * strands
    above = canvas.y - line
    cast = np.clip(0.5 - above * 6, 0, 0.5) * skull * np.minimum(hair["top"] * 12, 1)
    canvas.paint(cast, tones["shadow"])
    front = cover(above * 0.75, canvas.pixel) * mane
    canvas.paint(front, tones["hair"])
    gleam = glow(canvas.x - face.light * 0.25, canvas.y + 0.74, 0.62, 0.17)
    gleam *= 0.7 + 0.3 * strands
    canvas.paint(gleam * front, tones["hair_light"])
    canvas.paint(np.maximum(strands, 0) * front * 0.4, tones["hair_dark"])
