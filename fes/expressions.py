"""The seven expression classes: their order everywhere in fes, and their names elsewhere.

A label is the index of a class in `EXPRESSIONS`; `UNLABELLED` stands where a sample has none.
The order is FER2013's, which is also that of the Toronto Face Database less one.
"""

import difflib

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

_EVERYDAY = {
    "angry": ("mad", "furious", "rage", "annoyed", "frowning"),
    "disgusted": ("disgusting", "revolted", "nauseated"),
    "afraid": ("terrified", "terror", "anxious", "worried", "horror"),
    "happy": ("smile", "smiling", "laugh", "laughing", "glad", "cheerful", "grin", "grinning"),
    "sad": ("cry", "crying", "unhappy", "sorrow", "sorrowful", "grief"),
    "surprised": ("surprising", "shocked", "shock", "astonished", "amazed", "amazement"),
    "neutral": ("normal", "none", "relaxed", "blank", "expressionless"),
}
"""Words by which people mean a class, and no data set: folders of these names are no classes."""


def expression_label(name: str) -> int | None:
    """The label of a class by its name or an alias, in any case; None where there is no such class."""
    name = name.strip().lower()
    for label, expression in enumerate(EXPRESSIONS):
        if name == expression or name in ALIASES[expression]:
            return label
    return None


def expression_meant(name: str) -> str | None:
    """The class that a word is likely to mean which is no name of one, as `smile` or `hapyness`."""
    words = {
        word: expression
        for expression in EXPRESSIONS
        for word in (expression, *ALIASES[expression], *_EVERYDAY[expression])
    }
    close = difflib.get_close_matches(name.strip().lower(), words, n=1, cutoff=0.6)
    return words[close[0]] if close else None
