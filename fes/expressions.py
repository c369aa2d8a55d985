"""The seven expression classes: their order everywhere in fes, and their names elsewhere.

A label is the index of a class in `EXPRESSIONS`; `UNLABELLED` stands where a sample has none.
The order is FER2013's, which is also that of the Toronto Face Database less one.
"""

EXPRESSIONS = ("angry", "disgusted", "afraid", "happy", "sad", "surprised", "neutral")
UNLABELLED = -1

ALIASES = {
    "angry": ("anger",),
    "disgusted": ("disgust",),
    "afraid": ("fear", "fearful", "scared", "frightened"),
    "happy": ("happiness", "joy", "joyful"),
    "sad": ("sadness",),
    "surprised": ("surprise",),
    "neutral": ("neutrality", "natural", "calm"),
}


def expression_label(name: str) -> int | None:
    """The label of a class by its name or an alias, in any case; None where there is no such class."""
    name = name.strip().lower()
    for label, expression in enumerate(EXPRESSIONS):
        if name == expression or name in ALIASES[expression]:
            return label
    return None
