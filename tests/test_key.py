"""Addresses: different ones are independent, many are the same as one by one, and nothing else matters."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from degrade import Key
from degrade.testing import keys, paths

ALPHA = 1e-3  #: of every statistical test; seeds are fixed, so that a pass stays one


@given(paths(), paths(), st.integers(0, 2**53))
def test_distinct_paths_have_distinct_words(a: list[str | int], b: list[str | int], seed: int) -> None:
    typed = [[(type(p), p) for p in path] for path in (a, b)]
    assert (Key(seed).at(*a).word == Key(seed).at(*b).word) == (typed[0] == typed[1])


@given(keys(), paths(), paths())
def test_a_path_is_walked_step_by_step(key: Key, a: list[str | int], b: list[str | int]) -> None:
    assert key.at(*a, *b).word == key.at(*a).at(*b).word


@given(keys(), st.integers(0, 2**40), st.integers(0, 2**40))
def test_order_matters(key: Key, a: int, b: int) -> None:
    assert (key.at(a, b).word == key.at(b, a).word) == (a == b)


def test_type_matters() -> None:
    key = Key(0)
    assert key.at(1).word != key.at("1").word
    assert key.at("a", "b").word != key.at("ab").word
    assert key.at("").word != key.word


@pytest.mark.parametrize("part", [True, 1.0, None, np.array([True]), np.array([1.5]), b"a"])
def test_what_is_no_address_is_refused(part: object) -> None:
    with pytest.raises(TypeError, match=r"whole number"):
        Key(0).at(part)


@given(keys(), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20), paths())
def test_many_are_one_by_one(key: Key, rows: list[int], path: list[str | int]) -> None:
    many = key.at(np.array(rows)).at(*path)
    one = [key.at(r).at(*path) for r in rows]
    assert many.many
    assert len(many) == len(rows)
    assert many.word.tolist() == [int(k.word) for k in one]
    assert many.bits().tolist() == [k.bits().item() for k in one]
    assert many.unit().tolist() == [k.unit().item() for k in one]
    assert many[np.array([0])].word[0] == one[0].word


@given(keys())
def test_numbers_are_in_range(key: Key) -> None:
    assert 0 <= key.unit() < 1
    assert 0 <= key.bits() < 2**53
    assert float(key.bits()) == key.bits()


def _many(kind: str, n: int) -> np.ndarray:
    """Units at n addresses of one kind: neighbours in one part, or in the seed, or at a depth."""
    if kind == "rows":
        return Key(7).at("IMG_0001.CR2", np.arange(n), "optics", "sigma").unit()
    if kind == "seeds":
        return np.array([Key(s).at("a").unit() for s in range(n)])
    if kind == "fields":
        return np.array([Key(7).at(f"field{i}").unit() for i in range(n)])
    return np.array([Key(7).at(*["x"] * (i + 1)).unit() for i in range(n)])


@pytest.mark.parametrize(("kind", "n"), [("rows", 100_000), ("seeds", 20_000), ("fields", 20_000), ("depth", 300)])
def test_draws_are_uniform(kind: str, n: int) -> None:
    unit = _many(kind, n)
    assert stats.kstest(unit, "uniform").pvalue > ALPHA
    assert stats.chisquare(np.histogram(unit, 64 if n > 10_000 else 16, (0, 1))[0]).pvalue > ALPHA


def test_every_bit_is_even() -> None:
    bits = Key(3).at(np.arange(50_000)).bits()
    ones = ((bits[:, None] >> np.arange(53)) & 1).sum(0)
    sigma = np.sqrt(50_000 / 4)
    assert np.abs(ones - 25_000).max() < 4.5 * sigma


@pytest.mark.parametrize(("a", "b"), [(("f", "x"), ("f", "y")), (("f", 0), ("f", 1)), (("f",), ("f", "f"))])
def test_neighbouring_addresses_are_independent(a: tuple[str | int, ...], b: tuple[str | int, ...]) -> None:
    key = Key(5).at(np.arange(50_000))
    table = np.histogram2d(key.at(*a).unit(), key.at(*b).unit(), bins=16, range=[[0, 1]] * 2)[0]
    assert stats.chisquare(table.ravel()).pvalue > ALPHA
    consecutive = np.histogram2d(key.unit()[:-1], key.unit()[1:], bins=16, range=[[0, 1]] * 2)[0]
    assert stats.chisquare(consecutive.ravel()).pvalue > ALPHA


def _by_hand(seed: int, *path: str | int) -> int:
    """The documented rule in plain whole numbers: BLAKE2b of the part, SplitMix64's finaliser between parts."""

    def word(part: str | int) -> int:
        text = f"{type(part).__name__}:{part}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")

    def mix(z: int) -> int:
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    found = word(seed)
    for part in path:
        found = mix(mix(found) ^ word(part))
    return found


@given(st.integers(-(2**70), 2**70), paths())
def test_words_follow_the_documented_rule(seed: int, path: list[str | int]) -> None:
    assert int(Key(seed).at(*path).word) == _by_hand(seed, *path)


def test_words_are_for_ever() -> None:
    """Stores are rendered from them: these numbers must never change."""
    assert f"{int(Key(0).word):016x}" == "636971503aff47ba"
    assert f"{int(Key(7).at('IMG_0001.CR2', 3, 'optics', 'sigma').word):016x}" == "dc9a457551e67001"
