"""The one error of this room: a photo that cannot be used, so that a build can set it aside and go on."""

from __future__ import annotations


class PhotoError(ValueError):
    """A photo that cannot be used; the message is one sentence: what is wrong, with which file, what to do."""
