"""Files to frames and back: RAW, DNG, ordinary pictures and folders of them."""

from degrade.core.errors import PhotoError
from degrade.photos.dng import write_dng
from degrade.photos.facts import RawFacts
from degrade.photos.folder import PICTURE_EXTENSIONS, RAW_EXTENSIONS, Photo, find_photos, fingerprint, path_of
from degrade.photos.image import read_picture
from degrade.photos.raw import raw_facts, read_raw
from degrade.photos.read import read_photo, read_source

__all__ = [
    "PICTURE_EXTENSIONS",
    "RAW_EXTENSIONS",
    "Photo",
    "PhotoError",
    "RawFacts",
    "find_photos",
    "fingerprint",
    "path_of",
    "raw_facts",
    "read_photo",
    "read_picture",
    "read_raw",
    "read_source",
    "write_dng",
]
