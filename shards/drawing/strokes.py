"""Antialiased shapes for whole batches of pictures, in numpy.

Coordinates are face units: x to the right and y down, the frame spans [-1, 1] both ways at any resolution.
A shape returns its coverage, float32 [n, height, width] in [0, 1]; measures are numbers or float32 [n, 1, 1].
No sines or powers touch pixels: + - * / and sqrt round alike everywhere, so no picture depends on its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Measure = np.ndarray | float
Curve = Sequence[Measure]  # coefficients of 1, u, u^2, ... with u in [-1, 1] along the curve

POSE_MARGIN = 0.13  # how far a small roll, shift or zoom may carry a feature out of its upright window
BEYOND_END = 1.2  # curves are polynomials: past their ends they would run wild, so u stops here


@dataclass
class Canvas:
    """A batch of pictures being painted: picture [channels, n, h, w]; x, y [n, h, w]; pixel [n, 1, 1]."""

    picture: np.ndarray
    x: np.ndarray
    y: np.ndarray
    pixel: np.ndarray

    def paint(self, coverage: np.ndarray, tone: np.ndarray) -> None:
        """Blend a tone [channels, n, 1, 1] over the picture where the coverage says."""
        for layer, channel_tone in zip(self.picture, tone, strict=True):
            change = channel_tone - layer
            change *= coverage
            layer += change

    def window(self, top: float, bottom: float, reach: float) -> Window:
        """The part of the canvas that holds face rows top..bottom and |x| <= reach, whatever the pose."""
        size = self.picture.shape[-1]
        edges = np.array([top - POSE_MARGIN, bottom + POSE_MARGIN, -reach - POSE_MARGIN, reach + POSE_MARGIN])
        pixels = np.clip((edges + 1) * size / 2, 0, size)
        first, last = np.floor(pixels).astype(int), np.ceil(pixels).astype(int)
        return Window(self, slice(first[0], last[1]), slice(first[2], last[3]))


@dataclass
class Window:
    """A contiguous copy of part of a canvas (strided views would be slow), put back when the block ends."""

    canvas: Canvas
    rows: slice
    columns: slice

    def __enter__(self) -> Canvas:
        whole, cut = self.canvas, (Ellipsis, self.rows, self.columns)
        self.part = Canvas(whole.picture[cut].copy(), whole.x[cut].copy(), whole.y[cut].copy(), whole.pixel)
        return self.part

    def __exit__(self, *_: object) -> None:
        self.canvas.picture[..., self.rows, self.columns] = self.part.picture


def cover(distance: np.ndarray, pixel: Measure) -> np.ndarray:
    """Coverage of the side where the signed distance is negative; overwrites the distance."""
    distance *= -1 / pixel
    distance += 0.5
    return np.clip(distance, 0, 1, out=distance)


def ellipse(x: np.ndarray, y: np.ndarray, radius_x: Measure, radius_y: Measure, pixel: Measure) -> np.ndarray:
    """Coverage of an ellipse about the origin."""
    across, down = x * (1 / radius_x), y * (1 / radius_y)
    level = across * across
    level += down * down
    level -= 1
    across *= 1 / radius_x
    down *= 1 / radius_y
    across *= across
    down *= down
    across += down
    across += 1e-6
    np.sqrt(across, out=across)
    across *= 2
    level /= across
    return cover(level, pixel)


def glow(x: np.ndarray, y: np.ndarray, radius_x: Measure, radius_y: Measure) -> np.ndarray:
    """A soft spot about the origin: 1 in the middle, smoothly 0 at the radii."""
    spot, down = x * (1 / radius_x), y * (1 / radius_y)
    spot *= spot
    down *= down
    spot += down
    np.subtract(1, spot, out=spot)
    np.maximum(spot, 0, out=spot)
    spot *= spot
    return spot


def along(coordinate: np.ndarray, middle: Measure, reach: Measure) -> np.ndarray:
    """The position u along a curve that runs from middle - reach (u = -1) to middle + reach (u = 1)."""
    position = coordinate - middle
    position *= 1 / reach
    return np.clip(position, -BEYOND_END, BEYOND_END, out=position)


def height(u: np.ndarray, curve: Curve) -> np.ndarray:
    """The polynomial's value at u."""
    value = u * curve[-1]
    for coefficient in reversed(curve[1:-1]):
        value += coefficient
        value *= u
    value += curve[0]
    return value


def steepness(u: np.ndarray, curve: Curve, reach: Measure) -> np.ndarray:
    """1 / cos of the curve's angle: how much a vertical offset exceeds the distance to the curve."""
    slope = [power * coefficient / reach for power, coefficient in enumerate(curve)][1:]
    value = height(u, slope) if len(slope) > 1 else u * 0 + slope[0]
    value *= value
    value += 1
    return np.sqrt(value, out=value)


def below(u: np.ndarray, y: np.ndarray, curve: Curve, reach: Measure, pixel: Measure) -> np.ndarray:
    """Coverage of everything under the curve."""
    distance = height(u, curve)
    distance -= y
    distance /= steepness(u, curve, reach)
    return cover(distance, pixel)


def band(
    u: np.ndarray, y: np.ndarray, upper: Curve, lower: Curve, reach: Measure, pixel: Measure
) -> np.ndarray:
    """Coverage between two curves; nothing where they have crossed. Right for bands thinner than a pixel."""
    coverage = below(u, y, upper, reach, pixel)
    coverage -= below(u, y, lower, reach, pixel)
    return np.maximum(coverage, 0, out=coverage)


def stroke(
    u: np.ndarray, y: np.ndarray, centre: Curve, half: Curve, reach: Measure, pixel: Measure
) -> np.ndarray:
    """Coverage of a pen stroke along a curve, half as thick as the second curve says."""
    distance = height(u, centre)
    distance -= y
    distance /= steepness(u, centre, reach)
    np.abs(distance, out=distance)
    width = height(u, half)
    far_edge = cover(-distance - width, pixel)
    distance -= width
    coverage = cover(distance, pixel)
    coverage += far_edge
    coverage -= 1
    return np.maximum(coverage, 0, out=coverage)


def wave(position: np.ndarray) -> np.ndarray:
    """A smooth wave of period 2 between -1 and 1 (parabola arcs, no sines); overwrites the position."""
    position -= 2 * np.floor(position * 0.5 + 0.5)
    position *= 1 - np.abs(position)
    position *= 4
    return position
