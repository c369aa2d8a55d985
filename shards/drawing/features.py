"""The features of a drawn face that its expression moves: brows, eyes, nose, cheeks and mouth.

Lengths are face units (see `shards.drawing.strokes`); symmetrical features are drawn once, in |x|.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shards.drawing.actions import Action
from shards.drawing.strokes import Canvas, Curve, Measure, along, band, below, ellipse, glow, stroke

BROW_Y, EYE_Y, NOSE_Y, MOUTH_Y = -0.36, -0.10, 0.18, 0.53


@dataclass
class Face:
    """A chunk of faces: measures are float32 [n, 1, 1], tones float32 [channels, n, 1, 1]."""

    action: Action
    numbers: dict[str, np.ndarray]  # by the names in `shards.drawing.faces.NUMBERS`, in [0, 1]
    hair: dict[str, np.ndarray]  # by the columns of `shards.drawing.faces.HAIR_STYLES`
    tones: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        self.width = self.measure("head_width", 0.62, 0.74)
        self.light = self.measure("light", -1, 1)  # the side it comes from
        self.eye_x = self.measure("eye_spacing", 0.27, 0.34)
        self.eye_y = EYE_Y + 0.03 * np.abs(self.numbers["eye_spacing"] * 2 - 1)
        self.eye_size = self.measure("eye_size", 0.9, 1.14)
        self.nose_width = self.measure("nose_shape", 0.155, 0.095)
        self.nose_tip = self.measure("nose_shape", NOSE_Y, NOSE_Y + 0.1) - 0.035 * self.action.wrinkle
        self.mouth_reach = self.measure("mouth_width", 0.24, 0.32) * (1 + self.action.stretch)
        self.mouth_y = MOUTH_Y + 0.3 * self.action.jaw + 0.05 * self.action.smile - 0.02 * self.action.pout

    def measure(self, name: str, low: float, high: float) -> np.ndarray:
        """A number of the identity, scaled to low..high."""
        return low + (high - low) * self.numbers[name]


def paint_cheeks(canvas: Canvas, face: Face) -> None:
    """Eye sockets, blush, raised cheeks, forehead lines."""
    action, tones = face.action, face.tones
    with canvas.window(-0.62, 0.60, 0.75) as part:
        across = np.abs(part.x)
        part.paint(glow(across - face.eye_x + 0.03, part.y - EYE_Y + 0.06, 0.30, 0.24) * 0.5, tones["shadow"])
        down = part.y - 0.24 + 0.06 * action.cheek
        part.paint(glow(across - 0.42, down, 0.25, 0.2) * (0.35 + 0.35 * action.cheek), tones["blush"])
        part.paint(glow(part.x - face.light * 0.40, down + 0.08, 0.2, 0.13) * 0.35, tones["shine"])
        raised = np.clip(action.brow_inner * 8 - 0.3, 0, 0.5)
        u = along(part.x, 0, 0.34)
        for forehead in (-0.60, -0.53):
            line = stroke(u, part.y, (forehead, 0, 0.03), _pen(0.010), 0.34, part.pixel)
            part.paint(line * raised, tones["crease"])
        _folds(part, face, across)


def _pen(half: float) -> Curve:
    """A stroke's half thickness along its length: pointed at both ends."""
    return (half, 0, -half)


def _folds(part: Canvas, face: Face, across: np.ndarray) -> None:
    """The folds from the nose's wings around the mouth's corners."""
    action, wing = face.action, face.nose_width + 0.05
    depth = 0.10 + 0.5 * np.maximum(0.7 * action.cheek, np.maximum(action.wrinkle, -0.6 * action.smile))
    top, bottom = face.nose_tip + 0.02, face.mouth_y - 0.05 * action.smile
    corner = face.mouth_reach + 0.09 + 0.02 * action.cheek
    curve = ((wing + corner) / 2 + 0.03, (corner - wing) / 2, -0.03)
    reach = (bottom - top) / 2
    u = along(part.y, top + reach, reach)
    fold = stroke(u, across, curve, _pen(0.018), reach, part.pixel)
    part.paint(fold * depth, face.tones["crease"])


def paint_nose(canvas: Canvas, face: Face) -> None:
    """Bridge, tip, nostrils and wings, shaded away from the light; wrinkles."""
    tones, width, side = face.tones, face.nose_width, face.light
    with canvas.window(-0.45, 0.45, 0.34) as part:
        across, down = np.abs(part.x), part.y - face.nose_tip
        part.paint(glow(part.x + side * 0.10, down + 0.20, 0.09, 0.34) * 0.5, tones["shadow"])
        part.paint(glow(part.x, down - 0.06, width * 1.7, 0.12) * 0.7, tones["shadow"])
        part.paint(glow(part.x, down + 0.02, width * 1.1, 0.13) * 0.9, tones["skin"])
        part.paint(glow(part.x - side * 0.03, down + 0.03, 0.06, 0.07) * 0.6, tones["shine"])
        part.paint(glow(part.x - side * 0.02, down + 0.22, 0.045, 0.24) * 0.45, tones["shine"])
        nostril = ellipse(across - width * 0.52, down - 0.07, width * 0.32, 0.026, part.pixel)
        part.paint(nostril, tones["crease"])
        u = along(down, 0.02, 0.075)
        wing = stroke(u, across, (width * 0.98, 0.03, -0.035), _pen(0.013), 0.075, part.pixel)
        part.paint(wing * 0.6, tones["crease"])
        _wrinkles(part, face, across, down)


def _wrinkles(part: Canvas, face: Face, across: np.ndarray, down: np.ndarray) -> None:
    """Creases across the bridge of a wrinkled nose, and between brows drawn together and down."""
    action, tones = face.action, face.tones
    u = along(part.x, 0, 0.13)
    for rise in (0.19, 0.27):
        line = stroke(u, down, (-rise, 0, 0.045), _pen(0.017), 0.13, part.pixel)
        part.paint(line * np.clip(action.wrinkle * 1.4 - 0.5, 0, 1), tones["crease"])
    frown = np.clip(action.brow_pinch * 8 - action.brow_inner * 4, 0, 0.8)
    u = along(part.y, BROW_Y - action.brow_inner * 0.5 + 0.04, 0.10)
    line = stroke(u, across, (0.055, 0.015), _pen(0.016), 0.10, part.pixel)
    part.paint(line * frown, tones["crease"])


def _arc(middle: Measure, bend: Measure, bulge: Measure, square: Measure, lean: Measure) -> Curve:
    """A mouth curve: middle + bulge (1 - u^2)(1 + square u^2), corners bent up, leaning to one side."""
    return (middle + bulge, lean, -bulge * (1 - square) - bend, -lean, -bulge * square)


@dataclass
class Mouth:
    """The curves of a mouth: its opening's edges over u in mouth_reach, its lips' over u in `wide`."""

    upper: Curve
    lower: Curve
    bow: Curve
    sill: Curve
    line: Curve  # where the lips meet
    wide: np.ndarray
    bend: np.ndarray
    top: np.ndarray  # of the opening, at its middle
    bottom: np.ndarray
    full: np.ndarray  # thickness of the lower lip


def _mouth_curves(face: Face) -> Mouth:
    action, middle, raised, square = face.action, face.mouth_y, face.action.lip_raise, face.action.square
    over, under = action.part * action.upper_share + 0.011, action.part * (1 - action.upper_share) + 0.011
    full = face.measure("lip_fullness", 0.048, 0.09) * (1 - 1.2 * action.part)
    pout = full * (1.15 + 0.6 * action.pout)
    wide = face.mouth_reach + 0.03 + 0.25 * full * np.minimum(action.part * 10, 1)
    bend = 0.16 * action.smile
    upper = _arc(middle, bend, -over - raised, square, -0.7 * raised)
    lower = _arc(middle, bend, under - 0.25 * raised, square, -0.2 * raised)
    cupid = _arc(0, 0, -0.72 * full, 2.2, 0)
    bow = tuple(edge + lip for edge, lip in zip(upper, cupid, strict=True))
    sill = _arc(middle, bend, under - 0.25 * raised + pout, 0.85 * square, 0)
    line = _arc(middle, bend, 0, 0, 0)
    return Mouth(upper, lower, bow, sill, line, wide, bend, middle - over - raised, middle + under, pout)


def paint_mouth(canvas: Canvas, face: Face) -> None:
    """Lips, and between them the dark of the mouth, its tongue and its teeth."""
    tones, mouth, pout = face.tones, _mouth_curves(face), face.action.pout
    with canvas.window(0.25, 1.2, 0.55) as part:
        under_lip = part.y - mouth.bottom - 1.7 * mouth.full
        part.paint(glow(part.x, under_lip, 0.22, 0.08) * (0.5 + 0.5 * pout), tones["shadow"])
        u = along(part.x, 0, mouth.wide)
        part.paint(band(u, part.y, mouth.bow, mouth.sill, mouth.wide, part.pixel), tones["lip"])
        part.paint(band(u, part.y, mouth.bow, mouth.line, mouth.wide, part.pixel), tones["lip_dark"])
        gleam = part.y - mouth.lower[0] - 0.5 * mouth.full
        gleam = glow(part.x - 0.05 * face.light, gleam, face.mouth_reach * 0.6, mouth.full * 0.42)
        part.paint(gleam * 0.7, tones["lip_shine"])
        u = along(part.x, 0, face.mouth_reach)
        inside = band(u, part.y, mouth.upper, mouth.lower, face.mouth_reach, part.pixel)
        part.paint(inside, tones["mouth"])
        _tongue_and_teeth(part, face, mouth, inside)


def _tongue_and_teeth(part: Canvas, face: Face, mouth: Mouth, inside: np.ndarray) -> None:
    action, tones, gap = face.action, face.tones, mouth.bottom - mouth.top
    tongue = glow(part.x, part.y - mouth.bottom, 0.22, gap * 0.5)
    part.paint(inside * tongue * np.minimum(action.part * 10, 1), tones["tongue"])
    u = along(part.x, 0, 0.3)
    edge = (mouth.top + gap * action.upper_teeth, 0, 0.3 * gap * (1 - action.square) - 0.8 * mouth.bend)
    upper = 1 - below(u, part.y, edge, 0.3, part.pixel)
    part.paint(inside * upper * np.minimum(action.upper_teeth * 10, 1), tones["teeth"])
    edge = (mouth.bottom - gap * action.lower_teeth + 0.02, 0, -0.8 * mouth.bend)
    lower = below(u, part.y, edge, 0.3, part.pixel)
    part.paint(inside * lower * np.minimum(action.lower_teeth * 10, 1), tones["teeth"])


def paint_eyes(canvas: Canvas, face: Face) -> None:
    """Whites and irises between the lids, lashes, the upper lid's crease and the bag of a raised cheek."""
    action, tones, size, centre = face.action, face.tones, face.eye_size, face.eye_y
    reach, slant = 0.185 * size, action.lid_slant
    over, under = 0.098 * size * (1 + action.upper_lid), 0.078 * size * (1 - action.lower_lid)
    upper = (centre - over, -over * slant - 0.015, over, over * slant)
    lower = (centre + under, -0.015, -under)
    with canvas.window(-0.42, 0.16, 0.62) as part:
        across = np.abs(part.x)
        u = along(across, face.eye_x, reach)
        eye = band(u, part.y, upper, lower, reach, part.pixel)
        part.paint(eye, tones["white"])
        part.paint(eye * np.clip((centre - over * 0.35 - part.y) * 12, 0, 0.35), tones["shadow"])
        _iris(part, face, eye, across - face.eye_x + 0.005, part.y - centre + 0.005)
        lid = (centre - over * 0.75 - 0.075, upper[1] * 0.8, over * 0.6)
        part.paint(stroke(u, part.y, lid, _pen(0.011), reach, part.pixel) * 0.7, tones["crease"])
        part.paint(stroke(u, part.y, upper, (0.026, 0.006, -0.024), reach, part.pixel), tones["lash"])
        part.paint(stroke(u, part.y, lower, _pen(0.011), reach, part.pixel) * 0.7, tones["crease"])
        bag = stroke(u, part.y, (centre + 0.113, -0.01, -0.05), _pen(0.013), reach, part.pixel)
        part.paint(bag * np.maximum(action.cheek, 0.5 * action.lower_lid) * 0.6, tones["crease"])


def _iris(part: Canvas, face: Face, eye: np.ndarray, beside: np.ndarray, down: np.ndarray) -> None:
    tones, iris = face.tones, 0.088 * face.eye_size
    part.paint(eye * ellipse(beside, down, iris, iris, part.pixel), tones["iris_dark"])
    part.paint(eye * ellipse(beside, down - 0.008, iris * 0.8, iris * 0.78, part.pixel), tones["iris"])
    part.paint(eye * ellipse(beside, down, iris * 0.48, iris * 0.48, part.pixel), tones["pupil"])
    # the same side in both eyes, as one lamp would be mirrored
    spot = np.abs(part.x - face.light * 0.025) - face.eye_x + 0.005
    part.paint(eye * ellipse(spot, down + 0.035, 0.026, 0.026, part.pixel), tones["white"])


def paint_brows(canvas: Canvas, face: Face) -> None:
    """Brows, thick inside and tapering out."""
    action, reach = face.action, 0.2
    thick = face.measure("brow_thickness", 0.032, 0.058)
    rise, tilt = (action.brow_inner + action.brow_outer) / 2, (action.brow_inner - action.brow_outer) / 2
    middle = face.eye_y - EYE_Y + BROW_Y - rise - action.brow_arch - 0.025
    curve = (middle, tilt, 0.045 + action.brow_arch)
    half = (thick, -0.35 * thick, 0, 0.35 * thick, -thick)
    with canvas.window(-0.72, -0.1, 0.62) as part:
        u = along(np.abs(part.x), face.eye_x + 0.01 - action.brow_pinch, reach)
        part.paint(stroke(u, part.y, curve, half, reach, part.pixel), face.tones["brow"])
