import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from faceauth.intake.faces.crop import perceptual_hash
from faceauth.splits import near
from faceauth.splits.near import MAX_BITS_APART, bits_apart, find_look_alikes, pack_hashes, pairs_across


@pytest.fixture(params=["by matrix product", "compiled"])
def way(request, monkeypatch):
    """Both ways to compare hashes; tests ask the same of them."""
    monkeypatch.setattr(near, "COMPILED_FROM", 0 if request.param == "compiled" else 10**9)


def random_hashes(rng, n, *, n_scenes, flipped):
    """Hashes of n pictures of a few scenes, in each of which a share of all bits is flipped."""
    scenes = rng.integers(0, 256, (n_scenes, 32), dtype=np.uint8)
    noise = np.packbits(rng.random((n, 256)) < flipped, axis=1)
    return [row.tobytes().hex() for row in scenes[rng.integers(0, n_scenes, n)] ^ noise]


def strangers(rng, n):
    """Hashes of n pictures that have nothing in common."""
    return [row.tobytes().hex() for row in rng.integers(0, 256, (n, 32), dtype=np.uint8)]


def flip(text, n_bits, rng):
    """The same hash with exactly so many bits flipped."""
    bits = int(text, 16)
    for position in rng.choice(256, n_bits, replace=False):
        bits ^= 1 << int(position)
    return f"{bits:064x}"


def brute_force(hashes, limit):
    """(n, n) bool: which hashes are near which; none is near itself."""
    numbers = [int(text, 16) if text else None for text in hashes]
    return np.array(
        [
            [
                i != j and one is not None and other is not None and (one ^ other).bit_count() <= limit
                for j, other in enumerate(numbers)
            ]
            for i, one in enumerate(numbers)
        ],
        dtype=bool,
    ).reshape(len(hashes), len(hashes))


def first_of_each_set(is_tied):
    """By walking from each position to all that can be reached."""
    first = np.full(len(is_tied), -1)
    for i in range(len(is_tied)):
        pending = [i] if first[i] < 0 else []
        while pending:
            k = pending.pop()
            if first[k] < 0:
                first[k] = i
                pending += np.flatnonzero(is_tied[k]).tolist()
    return first


@settings(max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 70),
    st.integers(0, 256),
    st.sampled_from([1, 2, 3]),
    st.booleans(),
    st.booleans(),
)
def test_look_alikes_are_those_of_brute_force(seed, n, limit, n_parts, across_only, is_compiled):
    rng = np.random.default_rng(seed)
    hashes = random_hashes(rng, n, n_scenes=max(1, n // 4), flipped=rng.random() * 0.2)
    hashes = ["" if rng.random() < 0.1 else text for text in hashes]
    parts = rng.integers(0, n_parts, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "COMPILED_FROM", 0 if is_compiled else 10**9)
        # Blocks that end inside the data, and tiles too, if there are several of them.
        patch.setattr(near, "_BLOCK_ROWS", 16)
        found = find_look_alikes(hashes, parts, across_only=across_only, max_bits_apart=limit)
    is_near = brute_force(hashes, limit)
    differ = parts[:, None] != parts[None]
    assert found.n_across == (is_near & differ).sum() // 2
    assert found.other_part.tolist() == (is_near & differ).any(axis=1).tolist()
    own = (is_near & ~differ).any(axis=1)
    assert found.own_part.tolist() == (np.zeros(n, dtype=bool) if across_only else own).tolist()
    same_hash = np.array([[a == b != "" for b in hashes] for a in hashes], dtype=bool).reshape(n, n)
    tied = is_near & differ | same_hash & ~differ if across_only else is_near
    assert found.sets.tolist() == first_of_each_set(tied).tolist()
    expected = [(i, j) for i, j in np.argwhere(np.triu(is_near & differ)).tolist()]
    assert list(pairs_across(hashes, parts, found)) == expected


@pytest.mark.parametrize("n_others", [0, 1_500])
def test_36_bits_are_near_and_37_are_not(way, n_others):
    rng = np.random.default_rng(n_others)
    others = strangers(rng, n_others)
    one = strangers(rng, 1)[0]
    for n_bits in (0, 1, 36, 37, 38, 256):
        hashes = [*others, one, flip(one, n_bits, rng)]
        rng.shuffle(hashes)
        found = find_look_alikes(hashes, [0] * len(hashes))
        assert found.own_part.sum() == (2 if n_bits <= 36 else 0)
        assert len(set(found.sets)) == len(hashes) - (n_bits <= 36)
    assert MAX_BITS_APART == 36


def test_planted_pairs_among_many_are_all_found_wherever_their_bits_differ(way):
    rng = np.random.default_rng(3)
    hashes = strangers(rng, 3_000)
    pairs = []
    for n_bits in range(30, 41):
        for _ in range(20):
            pairs.append((len(hashes), len(hashes) + 1, n_bits))
            one = strangers(rng, 1)[0]
            hashes += [one, flip(one, n_bits, rng)]
    # All differing bits side by side, at each end: no half, and no word, has a share in them that it expects.
    for shift in (0, 220):
        pairs.append((len(hashes), len(hashes) + 1, 36))
        one = strangers(rng, 1)[0]
        hashes += [one, f"{int(one, 16) ^ ((2**36 - 1) << shift):064x}"]
    found = find_look_alikes(hashes, np.arange(len(hashes)) % 2)
    for i, j, n_bits in pairs:
        assert (found.sets[i] == found.sets[j]) == (n_bits <= 36)
    assert found.n_across == sum(n_bits <= 36 for *_, n_bits in pairs)


def test_both_ways_agree_on_more_than_one_tile():
    rng = np.random.default_rng(4)
    hashes = random_hashes(rng, 2_600, n_scenes=900, flipped=0.06)
    parts = rng.integers(0, 2, len(hashes))
    found = []
    for threshold in (0, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(near, "COMPILED_FROM", threshold)
            found.append(find_look_alikes(hashes, parts))
    one, other = found
    assert one.sets.tolist() == other.sets.tolist()
    assert 0 < one.n_across == other.n_across
    assert (one.own_part == other.own_part).all()
    assert (one.other_part == other.other_part).all()


def test_many_alike_are_one_set_whose_pairs_are_counted_and_not_listed(way):
    rng = np.random.default_rng(5)
    frames = random_hashes(rng, 3_000, n_scenes=1, flipped=0.03)
    hashes = frames + ["00" * 32] * 20_000
    parts = [0] * 2_000 + [1] * 1_000 + [0] * 10_000 + [1] * 10_000
    found = find_look_alikes(hashes, parts)
    assert len(set(found.sets[:3_000])) == 1
    assert set(found.sets[3_000:]) == {3_000}
    assert found.n_across == 2_000 * 1_000 + 10_000 * 10_000
    assert found.own_part.all()
    assert found.other_part.all()
    first = next(pairs_across(hashes, parts, found))
    assert first == (0, 2_000)


def test_sets_do_not_depend_on_threads_or_order(way, monkeypatch):
    rng = np.random.default_rng(6)
    hashes = random_hashes(rng, 1_500, n_scenes=300, flipped=0.05)
    sets = []
    for n_threads in (1, 3):
        monkeypatch.setattr(near, "_cores", lambda n=n_threads: n)
        sets.append(find_look_alikes(hashes, [0] * 1_500).sets.tolist())
    assert sets[0] == sets[1]
    order = rng.permutation(1_500)
    shuffled = find_look_alikes([hashes[i] for i in order], [0] * 1_500).sets
    together = {frozenset(np.flatnonzero(np.array(sets[0]) == k).tolist()) for k in set(sets[0])}
    assert {frozenset(order[shuffled == k].tolist()) for k in set(shuffled)} == together


def test_few_hashes_need_no_compiler(monkeypatch):
    monkeypatch.setattr(near, "_compiled", lambda: pytest.fail("was compiled"))
    rng = np.random.default_rng(0)
    assert len(set(find_look_alikes(strangers(rng, 500), [0] * 500).sets)) == 500


def test_an_error_in_a_thread_stops_the_search(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(near, "COMPILED_FROM", 0)
    calls = []

    def fail(*arguments):
        calls.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(near, "_compiled", lambda: fail)
    monkeypatch.setattr(near, "_BLOCK_ROWS", 1)
    with pytest.raises(KeyboardInterrupt):
        find_look_alikes(strangers(rng, 5_000), [0] * 5_000)
    assert len(calls) < 5_000


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=8))
def test_bits_apart_are_those_of_whole_numbers(found):
    hashes = [one.hex() for one in found]
    words = pack_hashes(hashes)
    expected = [[(int(a, 16) ^ int(b, 16)).bit_count() for b in hashes] for a in hashes]
    assert bits_apart(words[:, None], words[None]).tolist() == expected


def copies(image):
    """The same picture as others would pass it on."""
    for quality in (95, 60, 30):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        yield Image.open(buffer).convert("RGB")
    for side in (64, 150, 400):
        yield image.resize((side, side), Image.Resampling.LANCZOS)
    yield image.point(lambda value: min(255, round(value * 1.1)))


def test_copies_of_a_portrait_are_near_duplicates_and_other_people_are_not(sample_photos):
    paths = sorted((sample_photos / "real").rglob("person-*_0.jpg"))
    assert len(paths) == 4
    images = [Image.open(path).convert("RGB") for path in paths]
    hashes = []
    for image in images:
        hashes += [perceptual_hash(np.asarray(copy)) for copy in (image, *copies(image))]
    n_each = len(hashes) // 4
    found = find_look_alikes(hashes, [i // n_each for i in range(len(hashes))])
    assert found.sets.tolist() == [i // n_each * n_each for i in range(len(hashes))]
    assert found.n_across == 0
    is_near = brute_force(hashes, MAX_BITS_APART)
    assert is_near.sum() == 4 * n_each * (n_each - 1)
