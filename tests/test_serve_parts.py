"""Parts of the server: what an upload is, what has room, who may ask, and work that kills its process."""

import asyncio
import io
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import planted_deaths
import pytest
from clips import grey_frames, save_video
from pictures import draw
from PIL import Image
from test_verdicts import judge

from faceauth.errors import MissingExtraError, UsageError
from faceauth.intake.faces.face import FACE_DETECTORS, Face
from faceauth.intake.pipeline.engine import CollectSettings
from faceauth.intake.rows import NO_FACE, OK, UNREADABLE
from faceauth.serving import looking, team
from faceauth.serving.about import EMBEDDED_UNSEEN
from faceauth.serving.guard import Guard, is_this_machine_only
from faceauth.serving.kinds import kind_of
from faceauth.serving.limits import REQUESTS_IN_MEMORY, Limits, Room
from faceauth.serving.looking import Look, look_at_each
from faceauth.serving.refusals import RefusedError
from faceauth.serving.server import address_of, listen
from faceauth.serving.team import Team
from faceauth.verbs import serve as serve_verb
from faceauth.verbs.serve import check_installed, check_token

ROOT = Path(__file__).resolve().parents[1]
WHOLE = CollectSettings(face_detector="whole")
LIMITS = Limits()


def encoded(form, side=64, **options):
    buffer = io.BytesIO()
    Image.fromarray(draw(1, side=side)).save(buffer, form, **options)
    return buffer.getvalue()


def look(*looks, settings=WHOLE, max_pixels=LIMITS.max_pixels, detect=planted_deaths.search):
    return look_at_each(list(looks), settings=settings, max_pixels=max_pixels, detect=detect)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM"])
def test_every_format_that_is_read_is_known_by_its_first_bytes(form):
    assert not kind_of(encoded(form)).is_video


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "libx264"),
        ("a.mkv", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.mpg", "mpeg2video"),
    ],
)
def test_videos_are_known_by_their_first_bytes_and_read_under_a_name_of_ours(tmp_path, name, codec):
    content = save_video(tmp_path / name, grey_frames(30, width=96, height=96), codec=codec).read_bytes()
    kind = kind_of(content)
    assert kind.is_video
    path = tmp_path / f"ours{kind.suffix}"
    path.write_bytes(content)
    (seen,) = look(Look(b"", path, 3))
    assert [faces[0].row.status for faces in seen.frames] == [OK] * 3


def test_a_room_is_bounded_in_requests_and_in_bytes_and_empties():
    limits = Limits(max_bytes=100, max_waiting=2)
    room = Room(limits)
    with room.waiting(), room.waiting():
        for place in (room.waiting, room.sending):
            with pytest.raises(RefusedError, match="as many requests") as refused, place():
                pass
            assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "2"})
    with room.sending() as claim:
        claim.add(100 * REQUESTS_IN_MEMORY)
        with pytest.raises(RefusedError, match="memory"), room.sending() as other:
            other.add(1)
    with room.sending() as claim:
        claim.add(100 * REQUESTS_IN_MEMORY)
    assert room.n_waiting == 0


def test_pictures_over_the_limit_are_refused_before_they_are_decoded(monkeypatch):
    seen = look(Look(encoded("PNG", 64)), Look(encoded("PNG", 65)), max_pixels=64 * 64)
    assert [one.is_too_large for one in seen] == [False, True]
    assert "at most 4,096" in seen[1].frames[0][0].row.reason


def test_videos_over_the_limit_are_refused(tmp_path):
    path = save_video(tmp_path / "clip.mp4", grey_frames(5, width=96, height=64), codec="libx264")
    (seen,) = look(Look(b"", path, 3), max_pixels=96 * 64 - 1)
    assert seen.is_too_large


def test_large_pictures_wait_as_they_were_sent_and_are_cut_the_same(monkeypatch):
    content = encoded("PNG", 300)
    (kept,) = look(Look(content))
    monkeypatch.setattr(looking, "KEPT_PIXEL_BYTES", 1000)
    (again,) = look(Look(content))
    np.testing.assert_array_equal(kept.frames[0][0].crop_rgb_uint8, again.frames[0][0].crop_rgb_uint8)


def test_of_a_crowd_the_largest_faces_are_taken_and_a_note_says_so(monkeypatch):
    monkeypatch.setattr(looking, "MAX_FACES_OF_A_PICTURE", 2)

    def crowd(images):
        return [[Face((0.0, 0.0, side, side), 0.99) for side in (50.0, 60.0, 55.0)] for _ in images]

    (seen,) = look(Look(encoded("PNG", 64)), detect=crowd, settings=CollectSettings())
    assert [face.row.box[2] for face in seen.frames[0]] == [60.0, 55.0]
    assert seen.note == "only the 2 largest of 3 faces were judged"
    (empty,) = look(Look(encoded("PNG", 64)), detect=lambda images: [[] for _ in images])
    assert [face.row.status for face in empty.frames[0]] == [NO_FACE]


@pytest.mark.launch
def test_what_kills_or_keeps_its_process_fails_alone_and_the_others_are_as_ever(monkeypatch):
    monkeypatch.setattr(FACE_DETECTORS, "get", lambda name: planted_deaths.load_dying)
    monkeypatch.setattr(team, "BATCH_PICTURES", 3)
    crew = Team(judge(), LIMITS, workers=1)
    crew.start()
    try:
        contents = [encoded("PNG", side) for side in (64, 70, 66)]
        answers = [crew.submit(Look(content)) for content in contents]
        answers.append(crew.submit(Look(b"no picture at all")))
        given_up = crew.submit(Look(contents[0]))
        given_up.cancel()
        judged = [answer.result(60) for answer in answers]
    finally:
        crew.stop()
    assert [one.verdicts[0].status for one in judged] == [OK, UNREADABLE, OK, UNREADABLE]
    assert "SIGSEGV" in judged[1].verdicts[0].reason
    assert given_up.cancelled()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts mapped memory")
def test_a_process_with_a_limit_gets_no_more_memory_than_that():
    code = (
        "from faceauth.memory import limit_memory; limit_memory(200 * 2**20); kept = bytearray(100 * 2**20)\n"
        "try:\n    more = bytearray(150 * 2**20)\nexcept MemoryError:\n    print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


def test_an_address_in_use_or_elsewhere_is_one_message():
    with listen("127.0.0.1", 0) as listener:
        port = int(address_of(listener).rstrip("/").rpartition(":")[2])
        with pytest.raises(UsageError, match=f"Port {port} of 127.0.0.1 is in use"):
            listen("127.0.0.1", port)
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(UsageError, match=host):
            listen(host, 0)


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("box", False),
    ],
)
def test_it_is_known_which_addresses_others_can_reach(host, answer):
    assert is_this_machine_only(host) is answer


@pytest.mark.parametrize("token", ["", "short", "with a space in it", "tökentökentöken", "line\nbreak1"])
def test_a_token_that_no_header_can_carry_or_that_is_short_is_refused(token):
    with pytest.raises(UsageError, match="token"):
        check_token(token)


def test_names_that_were_allowed_are_answered_and_errors_of_the_page_tell_nothing():
    async def hello(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async def statuses():
        transport = httpx.ASGITransport(Guard(hello, hosts=("Faces.Example",)))
        async with httpx.AsyncClient(transport=transport, base_url="http://faces.example:8000") as client:
            hosts = (
                "faces.example",
                "FACES.example:443",
                "10.0.0.7:8000",
                "[::1]:8000",
                "faces.example.evil",
                "",
                "[",
            )
            return [(await client.get("/models", headers={"Host": host})).status_code for host in hosts]

    assert asyncio.run(statuses()) == [200, 200, 200, 200, 421, 421, 421]


def test_what_is_said_of_unseen_generators_is_what_was_measured():
    tables = (ROOT / "docs" / "embedded.md").read_text("utf-8").split("\n\n")
    generators, alarms = (
        next(table for table in tables if table.startswith(f"| {name}")) for name in ("left out", "false")
    )
    rows = [
        [cell.split()[0] for cell in row.split("|")[1:-1] if cell.strip()]
        for row in generators.splitlines()[2:]
    ]
    auroc, found = ([float(row[column]) for row in rows[:-1]] for column in (2, -1))
    called = [row.split("|")[4].split()[0] for row in alarms.splitlines()[2:-1]]
    numbers = (
        f"{min(auroc):.2f} to {max(auroc):.2f} by generator, {float(rows[-1][2]):.2f} in the mean",
        f"from {100 * min(found):.0f} to {100 * max(found):.0f} %",
        f"up to {100 * max(float(rate) for rate in called if rate != '-'):.0f} %",
    )
    for number in numbers:
        assert number in EMBEDDED_UNSEEN


def test_without_its_packages_the_install_command_is_named(monkeypatch, run_cli):
    monkeypatch.setattr(serve_verb.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"faceauth\[serve\]"):
        check_installed()
    result = run_cli("serve")
    assert result.exit_code == MissingExtraError.exit_code
    assert "pip install 'faceauth[serve]'" in result.stderr
