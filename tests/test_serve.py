"""`faceauth serve` as a real process: what it answers, what it refuses, and that nothing brings it down."""

import asyncio
import io
import re
import signal
import struct
import zlib

import httpx
import numpy as np
import pytest
from clips import grey_frames, save_video
from pictures import draw
from PIL import Image
from servers import running
from test_predict import model

from faceauth.intake.sources.video_sampling import VideoSampling, expand_videos
from faceauth.verbs.predict import PredictSettings, predict
from faceauth.verdicts.find import find_pictures
from faceauth.verdicts.library import load_detector

pytestmark = pytest.mark.launch

# Small, so that what is too large is quickly made.
MAX_MB, MAX_MEGAPIXELS, MAX_SECONDS = 4, 5, 10


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def served(tmp_path_factory, checkpoint):
    folder = tmp_path_factory.mktemp("server")
    limits = ("--max-mb", MAX_MB, "--max-megapixels", MAX_MEGAPIXELS, "--max-seconds", MAX_SECONDS)
    with running(folder, "--model", checkpoint, "--no-detect", "--workers", 2, *limits) as server:
        server.folder = folder
        yield server


def png(seed=1, side=64):
    buffer = io.BytesIO()
    Image.fromarray(draw(seed, side=side)).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(seed=1, side=64):
    buffer = io.BytesIO()
    Image.fromarray(draw(seed, side=side)).save(buffer, "JPEG")
    return buffer.getvalue()


def flat_png(width, height):
    """A picture of one colour: few bytes, however many pixels it claims."""

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * min(height, 4000)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def post(served, content, **options):
    return httpx.post(f"{served.url}/predict", content=content, timeout=60, **options)


def records_of(response):
    assert response.status_code == 200, response.text
    return [record for file in response.json()["files"] for record in file["records"]]


def test_an_answer_holds_the_records_of_predict(served, checkpoint, tmp_path):
    path = tmp_path / "face.png"
    path.write_bytes(png(5))
    (verdict,) = predict(find_pictures([str(path)]), settings=PredictSettings(str(checkpoint), is_crops=True))
    wanted = verdict.to_json()
    form = httpx.post(f"{served.url}/predict", files={"file": (str(path), png(5))}, timeout=60)
    (record,) = records_of(form)
    assert list(record) == list(wanted)
    assert record["p_fake"] == pytest.approx(wanted["p_fake"], abs=1e-5)
    assert record | {"p_fake": 0} == wanted | {"p_fake": 0}
    (raw,) = records_of(post(served, png(5)))
    assert raw == record | {"path": None}


def test_several_files_are_answered_in_their_order_and_a_bad_one_fails_alone(served):
    files = [("file", ("a.png", png(1))), ("file", ("b.txt", b"hello there")), ("other", ("c.jpg", jpeg(2)))]
    answer = httpx.post(f"{served.url}/predict", files=files, timeout=60).json()
    assert [file["name"] for file in answer["files"]] == ["a.png", "b.txt", "c.jpg"]
    assert [file["records"][0]["status"] for file in answer["files"]] == ["ok", "unreadable", "ok"]
    assert (answer["files"][0]["width"], answer["files"][1]["width"]) == (64, None)


def test_a_video_is_judged_at_sampled_frames_as_predict_does_and_leaves_no_file(served, checkpoint, tmp_path):
    path = save_video(tmp_path / "clip.mp4", grey_frames(40, width=96, height=96), codec="libx264")
    files = expand_videos(find_pictures([str(path)]), VideoSampling(4))
    wanted = list(predict(files, settings=PredictSettings(str(checkpoint), is_crops=True)))
    found = records_of(post(served, path.read_bytes(), params={"frames": 4}))
    assert [(r["frame"], r["timestamp_s"]) for r in found] == [(v.frame, v.timestamp_s) for v in wanted]
    np.testing.assert_allclose([r["p_fake"] for r in found], [v.p_fake for v in wanted], atol=1e-5)
    assert [entry.name for entry in served.folder.iterdir()] == ["stderr.txt"]


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"", 422, "empty"),
        (b"just some words", 415, "neither a picture nor a video"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 415, "HEIC"),
        (jpeg()[:300], 422, "cannot be judged"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2mp41" + bytes(2000), 422, "cannot be judged"),
        (flat_png(3000, 2000), 413, "6,000,000|3,000 x 2,000"),
        (flat_png(60_000, 60_000), 413, "too many pixels"),
        (bytes(MAX_MB * 2**20 + 1), 413, "larger than 4 MiB"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_the_same_json(served, content, status, says):
    response = post(served, content)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert list(response.json()["error"]) == ["message", "hint"]
    assert re.search(says, response.json()["error"]["message"])


def test_wrong_requests_are_refused_with_the_same_json(served):
    predict_url = f"{served.url}/predict"
    for response, status in (
        (httpx.get(f"{served.url}/nothing"), 404),
        (httpx.get(predict_url), 405),
        (post(served, png(), params={"frames": 0}), 422),
        (post(served, png(), params={"frames": 10_000}), 422),
        (post(served, png(), headers={"Content-Encoding": "gzip"}), 415),
        (httpx.post(predict_url, content=b"--x", headers={"Content-Type": "multipart/form-data"}), 400),
        (httpx.post(predict_url, data={"file": "words"}, files={}), 415),
        (httpx.post(predict_url, files=[("file", ("a.png", png()))] * 17), 413),
    ):
        assert response.status_code == status, response.text
        assert set(response.json()["error"]) == {"message", "hint"}


def test_pages_of_other_sites_and_other_names_are_kept_out(served):
    host = served.url.removeprefix("http://")
    for headers, status in (
        ({}, 200),
        ({"Origin": served.url}, 200),
        ({"Host": host.replace("127.0.0.1", "localhost")}, 200),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "elsewhere.example"}, 421),
        ({"Host": f"elsewhere.example:{host.split(':')[1]}"}, 421),
    ):
        assert post(served, png(), headers=headers).status_code == status, headers
    for path in ("/", "/health", "/models"):
        response = httpx.get(served.url + path)
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "access-control-allow-origin" not in response.headers


def test_the_schema_has_types_and_what_is_answered_fits(served):
    schema = httpx.get(f"{served.url}/openapi.json").json()
    operation = schema["paths"]["/predict"]["post"]
    assert {"200", "408", "413", "415", "422", "503"} <= set(operation["responses"])
    assert "multipart/form-data" in operation["requestBody"]["content"]
    parts = schema["components"]["schemas"]
    (record,) = records_of(post(served, png()))
    assert set(parts["Record"]["properties"]) == set(record)
    about = httpx.get(f"{served.url}/models").json()
    assert set(parts["ModelsAnswer"]["properties"]) == set(about)
    assert set(parts["Model"]["properties"]) == set(about["models"][0])
    assert about["models"][0]["name"] == "checkpoint"
    assert about["limits"]["max_bytes"] == MAX_MB * 2**20
    assert httpx.get(f"{served.url}/health").json()["status"] == "ok"


def test_names_of_uploads_and_tokens_are_in_no_log(served):
    name = "very-private-name.png"
    for content in (png(), b"no picture"):
        httpx.post(f"{served.url}/predict", files={"file": (name, content)}, timeout=60)
    assert "very-private" not in served.errors.read_text()


class Client:
    """Sends requests side by side; whoever is told to come again does."""

    def __init__(self, served):
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self.http = httpx.AsyncClient(timeout=120, limits=limits)
        self.url = f"{served.url}/predict"
        self.host, self.port = served.url.removeprefix("http://").split(":")
        self.n_busy = 0

    async def post(self, content):
        """Returns the status and the answer."""
        while True:
            response = await self.http.post(self.url, content=content() if callable(content) else content)
            if response.status_code != 503:
                return response.status_code, response
            assert int(response.headers["Retry-After"]) > 0
            self.n_busy += 1
            await asyncio.sleep(0.5)

    async def stall(self, start):
        """Sends the start of a request and no more; returns the status that comes, None if there is none."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(start)
        answer = await asyncio.wait_for(reader.read(), 40)
        writer.close()
        return int(answer.split()[1]) if answer else None, None


async def endless():
    for _ in range(100):
        yield bytes(2**20)


HEAD = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
STALLED = HEAD + b"Content-Length: 5000\r\n\r\n" + png()[:500]


def test_two_hundred_at_once_hostile_ones_among_them_are_answered_in_bounded_memory(served, checkpoint):
    good = [png(seed) for seed in range(100)]
    wanted = [verdicts[0].p_fake for verdicts in load_detector(checkpoint, detect=False, device="cpu")(good)]
    hostile = [
        *((jpeg(seed, 200)[: 400 + seed], 422) for seed in range(20)),
        *[(flat_png(60_000, 60_000), 413)] * 15,
        *[(flat_png(2200, 2200), 200)] * 10,
        *[(b"wrong type" * 100, 415)] * 15,
        *[(bytes(100 * 2**20), 413)] * 3,
        *[(endless, 413)] * 7,
    ]
    stalled = [*[(STALLED, 408)] * 20, *[(b"", None)] * 5, *[(HEAD, None)] * 5]
    assert len(good) + len(hostile) + len(stalled) == 200

    async def all_at_once():
        client = Client(served)
        async with client.http:
            asked = [client.post(content) for content in (*good, *(content for content, _ in hostile))]
            answers = await asyncio.gather(*asked, *(client.stall(start) for start, _ in stalled))
        return answers, client.n_busy

    before = served.rss_bytes()
    with served.peak_rss() as peak:
        answers, n_busy = asyncio.run(all_at_once())
    found = [records_of(response)[0]["p_fake"] for _, response in answers[: len(good)]]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert [status for status, _ in answers[len(good) :]] == [status for _, status in (*hostile, *stalled)]
    grown_mb = (peak[-1] - before) / 2**20
    print(f"grown by {grown_mb:.0f} MB, {n_busy} times busy")
    assert grown_mb < 400
    (again,) = records_of(post(served, good[0]))
    assert again["p_fake"] == pytest.approx(wanted[0], abs=1e-5)


def test_with_a_token_only_the_page_and_health_are_open(tmp_path, checkpoint):
    token = "correct-horse"
    with running(
        tmp_path, "--model", checkpoint, "--no-detect", "--workers", 1, FACEAUTH_TOKEN=token
    ) as served:
        for path in ("/", "/assets/page.js", "/health", "/openapi.json"):
            assert httpx.get(served.url + path).status_code == 200, path
        refused = httpx.get(f"{served.url}/models")
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        for given in ("Bearer wrong-horse", f"Basic {token}", token, "Bearer"):
            assert post(served, png(), headers={"Authorization": given}).status_code == 401
        assert post(served, png(), headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert token not in served.errors.read_text()
        # A request that is under way is answered before the end.
        assert served.end(signal.SIGTERM) == 143
        assert list(tmp_path.glob("faceauth-*")) == []


def test_a_taken_port_is_one_message(served, run_cli):
    port = served.url.rpartition(":")[2]
    refused = run_cli("serve", "--port", port)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"faceauth: Port {port} of 127.0.0.1 is in use. Choose another one")


# The last one: it ends the server of those above.
def test_ctrl_c_ends_it_with_130_and_without_a_traceback(served):
    assert served.end(signal.SIGINT) == 130
    assert "Traceback" not in served.errors.read_text()
    assert [entry.name for entry in served.folder.iterdir()] == ["stderr.txt"]
