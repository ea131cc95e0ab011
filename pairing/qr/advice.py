"""What to tell the person who took the photo: one or two sentences to send back, per language.

For the operator there are the errors' own sentences and hints; this is for a shop's manager, who
knows nothing of codes and tokens. The texts lie in `pairing/qr/texts`.
"""

from __future__ import annotations

from pairing import errors
from pairing.language import DEFAULT, LANGUAGES
from pairing.qr.texts import load

__all__ = ["LANGUAGES", "advice"]
SAME = {errors.RestartedAfterRelease.slug: errors.NodeRestarted.slug}
"""To whoever stands before the machine these are one."""


def advice(error: errors.KnownError, wish: str = DEFAULT) -> str:
    """What to send back to the photographer after `error`, in the language of `wish`."""
    texts = load(wish)
    place = texts.places.get(getattr(error, "where", ""), "")
    for kind in type(error).__mro__:
        slug = getattr(kind, "slug", "")
        sentence = texts.sentences.get(SAME.get(slug, slug))
        if sentence and (place or "{where}" not in sentence):
            return sentence.format(where=place)
    return texts.new_photo
