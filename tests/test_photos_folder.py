"""Folders of photos: one order, one key a photo, copies found, nothing lost on the way."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from degrade.photos import Photo, PhotoError, find_photos, path_of, read_photo


def put(folder: Path, name: str, content: bytes | None = None) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(name.encode() if content is None else content)
    return path


def keys(folder: Path) -> list[str]:
    return [photo.key for photo in find_photos(folder)]


def test_keys_are_relative_sorted_by_code_point_and_of_known_kinds(tmp_path: Path) -> None:
    for name in (
        "b/2.NEF",
        "b/10.nef",
        "a.dng",
        "Z.CR2",
        "z.tiff",
        "notes.txt",
        "b/c/d.jpeg",
        "movie.mov",
        "raw",
        "x.raw",
    ):
        put(tmp_path, name)
    assert keys(tmp_path) == ["Z.CR2", "a.dng", "b/10.nef", "b/2.NEF", "b/c/d.jpeg", "z.tiff"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("a.dng", "._a.dng", ".hidden/b.dng", ".a.dng.7.tmp"):
        put(tmp_path, name)
    assert keys(tmp_path) == ["a.dng"]


def test_a_picture_beside_its_raw_is_its_preview(tmp_path: Path) -> None:
    for name in ("a.CR2", "a.JPG", "a.tif", "b.jpg", "x/a.jpg", "c.dng", "c.cr3"):
        put(tmp_path, name)
    assert keys(tmp_path) == ["a.CR2", "b.jpg", "c.cr3", "c.dng", "x/a.jpg"]


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    photos, other = tmp_path / "photos", tmp_path / "other"
    put(photos, "real/a.dng")
    put(other, "b.dng")
    (photos / "loop").symlink_to(photos)
    (photos / "real" / "up").symlink_to("..")
    (photos / "again").symlink_to("real")  # a real folder comes before links to it
    (photos / "other").symlink_to(other)
    (other / "back").symlink_to(photos)
    (photos / "self").symlink_to("self")
    (photos / "c.dng").symlink_to(other / "b.dng")
    found = find_photos(photos)
    assert [p.key for p in found] == ["c.dng", "other/b.dng", "real/a.dng"]
    assert found[1].duplicate_of == "c.dng"


def test_names_in_another_normalisation_have_nfc_keys_and_are_found_again(tmp_path: Path) -> None:
    stored = unicodedata.normalize("NFD", "Zürich/Café.dng")
    path = put(tmp_path, stored)
    (key,) = keys(tmp_path)
    assert key == "Zürich/Café.dng"
    assert key != stored
    assert path_of(tmp_path, key).samefile(path)
    with pytest.raises(FileNotFoundError, match="there is no photo 'Zürich/b.dng'"):
        path_of(tmp_path, "Zürich/b.dng")
    with pytest.raises(FileNotFoundError, match="was it moved or renamed"):
        path_of(tmp_path / "nowhere", key)


def test_names_equal_but_for_normalisation_are_refused(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        put(tmp_path, unicodedata.normalize(form, "é.dng"))
    if len(os.listdir(tmp_path)) == 2:  # some file systems hold only one of the two
        with pytest.raises(ValueError, match="up to Unicode normalisation: rename one"):
            find_photos(tmp_path)


def test_copies_are_marked_with_the_first_of_their_content(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(300_000)
    for name in ("b.dng", "c/a.dng", "a.dng"):
        put(tmp_path, name, content)
    near = bytearray(content)
    near[70_000] ^= 1  # between the sampled blocks: the same fingerprint, another photo
    put(tmp_path, "d.dng", bytes(near))
    put(tmp_path, "e.dng", content[:-1])
    found = {photo.key: photo for photo in find_photos(tmp_path)}
    assert {key: photo.duplicate_of for key, photo in found.items()} == {
        "a.dng": None,
        "b.dng": "a.dng",
        "c/a.dng": "a.dng",
        "d.dng": None,
        "e.dng": None,
    }
    assert found["d.dng"].fingerprint == found["a.dng"].fingerprint
    assert found["e.dng"].fingerprint != found["a.dng"].fingerprint
    assert found["a.dng"].size == 300_000


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_small_photos_have_one_fingerprint_a_content(
    tmp_path_factory: pytest.TempPathFactory, a: bytes, b: bytes
) -> None:
    folder = tmp_path_factory.mktemp("photos")
    put(folder, "a.dng", a)
    put(folder, "b.dng", b)
    one, two = find_photos(folder)
    assert (one.fingerprint == two.fingerprint) == (a == b)
    assert two.duplicate_of == ("a.dng" if a == b else None)


def test_a_fingerprint_does_not_depend_on_name_or_place(tmp_path: Path) -> None:
    content = np.random.default_rng(1).bytes(500_000)
    put(tmp_path / "one", "a.dng", content)
    put(tmp_path / "two", "x/b.nef", content)
    (one,), (two,) = find_photos(tmp_path / "one"), find_photos(tmp_path / "two")
    assert one == Photo("a.dng", 500_000, two.fingerprint)


def test_a_photo_that_cannot_be_opened_is_kept_for_the_reader_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "a.dng").symlink_to("gone.dng")
    (tmp_path / "b.dng").symlink_to("gone.dng")
    found = find_photos(tmp_path)
    assert found == (Photo("a.dng", 0, ""), Photo("b.dng", 0, ""))
    with pytest.raises(PhotoError, match="cannot be opened"):
        read_photo(tmp_path / "a.dng", space="linear")


def test_folders_without_photos_say_so(tmp_path: Path) -> None:
    put(tmp_path, "notes.txt")
    with pytest.raises(ValueError, match=r"there is no photo in .*: names must end in one of \.3fr, .*\.dng, .*\.png"):
        find_photos(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        find_photos(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        find_photos(tmp_path / "notes.txt")


def test_names_that_are_no_unicode_are_refused(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.dng")).touch()
    except OSError:
        pytest.skip("this file system takes only Unicode names")
    with pytest.raises(ValueError, match="is not valid Unicode: rename it"):
        find_photos(tmp_path)


def test_other_names_are_no_photos(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="is not named like a photo"):
        read_photo(put(tmp_path, "a.txt"), space="linear")
