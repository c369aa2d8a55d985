"""The seven expressions of a drawn face: what each does to brows, eyes, nose, mouth and jaw."""

from __future__ import annotations

from dataclasses import dataclass

from shards.drawing.strokes import Measure


@dataclass(frozen=True)
class Action:
    """What an expression does to a face, in face units or as a share; FACS action units in brackets."""

    brow_inner: Measure = 0.0  # inner ends rise [1] or sink [4]
    brow_outer: Measure = 0.0  # outer ends rise [2]
    brow_arch: Measure = 0.0  # middle rises above both ends [1 + 2]
    brow_pinch: Measure = 0.0  # brows drawn together [4]
    upper_lid: Measure = 0.0  # eye opens wider [5] or narrows [43], share of its height
    lid_slant: Measure = 0.0  # lids sink at the inner (+) or the outer end (-)
    lower_lid: Measure = 0.0  # lower lids pushed up [7], share of their height
    cheek: Measure = 0.0  # cheeks raised [6]
    wrinkle: Measure = 0.0  # nose wrinkled [9]
    lip_raise: Measure = 0.0  # upper lip pulled up, more on one side [10]
    smile: Measure = 0.0  # mouth corners up [12] or down [15]
    stretch: Measure = 0.0  # mouth wider [20] or narrower [18], share of its width
    part: Measure = 0.0  # lips apart [25]
    square: Measure = 0.0  # opening stays tall towards the corners [22]
    upper_share: Measure = 0.3  # share of the opening above the mouth's middle
    upper_teeth: Measure = 0.0  # share of the opening the upper teeth fill
    lower_teeth: Measure = 0.0
    pout: Measure = 0.0  # lower lip pushed up and out [17]
    jaw: Measure = 0.0  # jaw drops [26, 27]


ACTIONS = {
    "angry": Action(
        brow_inner=-0.15, brow_outer=0.08, brow_pinch=0.08, upper_lid=-0.12, lid_slant=0.55, lower_lid=0.3,
        wrinkle=0.25, smile=-0.35, part=0.15, square=1.0, upper_share=0.5,
        upper_teeth=0.5, lower_teeth=0.5,
    ),
    "disgusted": Action(
        brow_inner=-0.09, brow_outer=-0.07, brow_pinch=0.03, upper_lid=-0.5, lower_lid=0.6, cheek=0.6,
        wrinkle=1.0, lip_raise=0.095, smile=-0.6, stretch=-0.05, part=0.03, square=0.5, upper_teeth=0.5,
        pout=0.4,
    ),
    "afraid": Action(
        brow_inner=0.16, brow_outer=0.02, brow_pinch=0.08, upper_lid=0.6, lid_slant=-0.1, lower_lid=-0.15,
        smile=-0.3, stretch=0.35, part=0.17, square=0.9, upper_share=0.4, upper_teeth=0.2, lower_teeth=0.28,
        jaw=0.03,
    ),
    "happy": Action(
        brow_inner=0.03, brow_outer=0.05, brow_arch=0.03, upper_lid=-0.2, lower_lid=0.6, cheek=1.0,
        smile=1.0, stretch=0.3, part=0.2, square=0.4, upper_share=0.1, upper_teeth=0.55, jaw=0.02,
    ),
    "sad": Action(
        brow_inner=0.13, brow_outer=-0.08, brow_pinch=0.05, upper_lid=-0.3, lid_slant=-0.5,
        smile=-1.0, stretch=-0.12, pout=1.0,
    ),
    "surprised": Action(
        brow_inner=0.15, brow_outer=0.15, brow_arch=0.06, upper_lid=0.6, lower_lid=-0.2,
        stretch=-0.32, part=0.34, square=0.55, upper_share=0.42, upper_teeth=0.12, jaw=0.09,
    ),
    "neutral": Action(smile=0.2),
}  # fmt: skip
