"""256 short English words, one for each byte, easy to say and to tell apart over the telephone.

Their order is part of the protocol: two screens show the same words for the same bytes.
"""

from __future__ import annotations

# fmt: off
WORDS: tuple[str, ...] = (
    "acid", "acorn", "actor", "agent", "album", "alley", "amber", "anchor",
    "angle", "ankle", "apple", "apron", "arena", "arrow", "atlas", "attic",
    "autumn", "award", "bacon", "badge", "bagel", "baker", "bamboo", "banana",
    "banjo", "barber", "barrel", "basket", "beacon", "beard", "beaver", "bell",
    "bench", "berry", "bicycle", "biscuit", "blanket", "blossom", "board", "boat",
    "bonus", "boot", "bottle", "bowl", "branch", "bread", "bridge", "broom",
    "bubble", "bucket", "buffalo", "bundle", "butter", "button", "cabin", "cable",
    "cactus", "camel", "camera", "canal", "candle", "canoe", "canvas", "carbon",
    "carpet", "carrot", "castle", "cedar", "cello", "cement", "cherry", "chess",
    "chicken", "circle", "circus", "citrus", "clock", "cloud", "clover", "cobra",
    "coffee", "comet", "compass", "copper", "coral", "cotton", "cousin", "crab",
    "cradle", "crane", "crayon", "cricket", "crown", "crystal", "cube", "curtain",
    "cycle", "dagger", "daisy", "dancer", "denim", "desert", "diamond", "dolphin",
    "donkey", "dragon", "drum", "eagle", "earth", "echo", "elbow", "elephant",
    "emerald", "engine", "escape", "fabric", "falcon", "farmer", "feather", "fence",
    "fiddle", "finger", "flame", "flute", "forest", "fossil", "fountain", "fox",
    "galaxy", "garden", "garlic", "giant", "ginger", "giraffe", "glacier", "globe",
    "glove", "goblet", "golden", "gorilla", "granite", "grape", "guitar", "hammer",
    "harbor", "harvest", "hazel", "helmet", "hermit", "hockey", "honey", "horizon",
    "hotel", "hunter", "iceberg", "igloo", "indigo", "island", "ivory", "jacket",
    "jaguar", "jasmine", "jelly", "jigsaw", "jockey", "jungle", "kayak", "kettle",
    "kidney", "kitchen", "kiwi", "ladder", "lagoon", "lantern", "laptop", "lemon",
    "leopard", "lettuce", "library", "lily", "lizard", "lobster", "locket", "lotus",
    "magnet", "mango", "maple", "marble", "meadow", "melon", "mirror", "monkey",
    "morning", "mosaic", "motor", "muffin", "museum", "napkin", "nectar", "needle",
    "nickel", "noodle", "nutmeg", "oasis", "ocean", "octopus", "olive", "onion",
    "opera", "orange", "orchid", "otter", "oxygen", "paddle", "palace", "panda",
    "papaya", "parrot", "peanut", "pebble", "pelican", "pencil", "pepper", "piano",
    "picnic", "pigeon", "pillow", "pirate", "planet", "pocket", "pony", "potato",
    "prism", "pumpkin", "puzzle", "pyramid", "quartz", "quilt", "rabbit", "radar",
    "radio", "raven", "ribbon", "river", "robin", "rocket", "rubber", "saddle",
    "salmon", "sandal", "satin", "scarf", "school", "sculptor", "shadow", "shark",
)
# fmt: on


def words(data: bytes, count: int = 3) -> tuple[str, ...]:
    """The words of the first `count` bytes; 8 bits each."""
    return tuple(WORDS[byte] for byte in data[:count])
