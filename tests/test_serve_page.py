"""The page of `faceauth serve` in a real browser: ways in, verdicts, keyboard, names as text, widths."""

import base64
import io
import json
import shutil

import numpy as np
import pytest
from clips import save_video
from PIL import Image
from servers import running
from test_predict import model
from test_verdicts import BAND

from faceauth.samples.sample_set import REAL_SOURCE, draw_picture
from faceauth.verdicts.library import load_detector

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.launch,
    pytest.mark.skipif(BROWSER is None, reason="neither Chromium nor Chrome is installed"),
]
TOKEN = "a-token-for-tests"

# Gives the page files as a person would who drags them in, or pastes them.
GIVE = """([way, name, type, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const given = new DataTransfer();
  given.items.add(new File([bytes], name, { type }));
  const event = way === "paste"
    ? new ClipboardEvent("paste", { clipboardData: given, bubbles: true, cancelable: true })
    : new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""
# The least contrast of any text with what is behind it (WCAG 2.2, 1.4.3).
LEAST_CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  let least = [21, ""];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].filter((node) => node.nodeType === 3);
    const text = own.map((node) => node.data.trim()).join("");
    if (!text || !element.checkVisibility()) continue;
    let behind = element;
    const isClear = (one) => (parse(getComputedStyle(one).backgroundColor)[3] ?? 1) === 0;
    while (behind && isClear(behind)) behind = behind.parentElement;
    const pair = [getComputedStyle(element).color, getComputedStyle(behind ?? document.body).backgroundColor];
    const [low, high] = pair.map(parse).map(light).sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < least[0]) least = [contrast, text];
  }
  return least;
}"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    changes = {"face_detector": "mtcnn", "unsure": BAND | {"low": 0.3, "high": 0.8}}
    return model(tmp_path_factory.mktemp("model"), **changes)


@pytest.fixture(scope="module")
def served(tmp_path_factory, checkpoint):
    with running(
        tmp_path_factory.mktemp("server"),
        "--model",
        checkpoint,
        "--workers",
        1,
        "--max-mb",
        2,
        FACEAUTH_TOKEN=TOKEN,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def portrait():
    return draw_picture(REAL_SOURCE, (7, 0, 1, 0), image_px=224)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # In containers there is no sandbox for root; nothing but our own page is opened.
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, served):
    """Opens the page, past its token, and afterwards makes sure that it did nothing behind anybody's back."""
    contexts, complaints, asked = [], [], []

    def open_page(*, is_unlocked=True, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(served.url)
        if is_unlocked:
            page.get_by_label("Token").fill(TOKEN)
            page.get_by_label("Token").press("Enter")
            page.wait_for_selector("#drop:visible")
            # The browser reports the answer that asked for the token.
            complaints[:] = [text for text in complaints if "401" not in text]
        page.complaints = complaints
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    own = (f"{served.url}/", "blob:", "data:")
    assert [url for url in asked if not url.startswith(own)] == []


def give(page, way, name, content, type="image/jpeg"):
    n_before = page.locator(".result").count()
    page.evaluate(GIVE, [way, name, type, base64.b64encode(content).decode()])
    page.wait_for_selector(f".result >> nth={n_before}")
    return page.locator(".result").first


def test_a_dropped_picture_gets_the_verdict_of_the_library_with_its_face_boxed(
    open_page, checkpoint, portrait
):
    (wanted,) = load_detector(checkpoint, device="cpu")(portrait)
    page = open_page(reduced_motion="reduce")
    result = give(page, "drop", "ann.jpg", portrait)
    card = result.locator(".face")
    assert wanted.unsure
    assert "Unsure" in card.inner_text()
    assert f"rather {wanted.label}" in card.inner_text()
    assert "not calibrated" in card.inner_text()
    assert result.locator("h2").inner_text() == "ann.jpg"
    assert page.locator("#status").inner_text() == f"1 face: unsure, rather {wanted.label}."
    (record,) = json.loads(result.locator("pre").text_content())["records"]
    assert record["p_fake"] == pytest.approx(wanted.p_fake, abs=1e-5)
    picture, box = (result.locator(part).bounding_box() for part in (".stage img", ".box"))
    scale = picture["width"] / 224
    found = (box["x"] - picture["x"], box["y"] - picture["y"], box["width"], box["height"])
    x1, y1, x2, y2 = wanted.box
    np.testing.assert_allclose(np.array(found) / scale, (x1, y1, x2 - x1, y2 - y1), atol=1)


def test_a_heat_map_is_laid_over_the_picture_and_taken_away_again(open_page, portrait):
    page = open_page()
    result = give(page, "drop", "ann.jpg", portrait)
    button = result.get_by_role("button", name="Show where")
    button.click()
    heat, picture = (result.locator(part).first for part in (".heat", ".stage img:not(.heat)"))
    heat.wait_for()
    assert button.get_attribute("aria-pressed") == "true"
    assert heat.get_attribute("alt").startswith("Heat map of Face 1")
    outer, inner = picture.bounding_box(), heat.bounding_box()
    assert outer["x"] - 1 <= inner["x"]
    assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1
    button.click()
    assert result.locator(".heat").count() == 0


def test_all_of_it_can_be_done_with_the_keyboard(open_page, portrait):
    page = open_page()
    # From here on the browser asks us for a file instead of opening its dialogue, which takes it a moment.
    page.on("filechooser", lambda chooser: None)
    page.wait_for_timeout(300)
    assert page.evaluate("document.activeElement.id") == "file"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "ann.jpg", "mimeType": "image/jpeg", "buffer": portrait})
    page.wait_for_selector(".result")
    page.locator("#file").focus()
    names = []
    for _ in range(4):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText)"
            )
        )
        if names[-1].startswith("Face 1"):
            page.keyboard.press("Enter")
    assert names[0].startswith("Face 1: unsure")
    assert names[1] == "Show where Face 1 looks fake"
    assert names[2] == "The records as JSON"
    assert page.locator(".box").get_attribute("aria-pressed") == "true"
    assert page.locator(".face.is-chosen").count() == 1
    page.locator("summary", has_text="JSON").press("Enter")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy JSON").press("Enter")
    page.wait_for_selector("#status:has-text('clipboard')")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert copied["name"] == "ann.jpg"


def test_names_are_text_and_what_is_pasted_is_judged(open_page, portrait):
    page = open_page()
    name = "<img src=x onerror=alert(1)>.jpg"
    result = give(page, "paste", name, portrait)
    assert result.locator("h2").inner_text() == name
    assert page.locator("img[src=x]").count() == 0


def test_errors_say_what_was_wrong_and_what_to_do(open_page, served):
    page = open_page()
    result = give(page, "drop", "notes.txt", b"just some words", "text/plain")
    assert "neither a picture nor a video" in result.inner_text()
    assert "Send JPEG" in result.inner_text()
    assert page.locator("#status").get_attribute("aria-live") == "polite"
    assert "No verdict" in page.locator("#status").text_content()
    page.complaints[:] = [text for text in page.complaints if "415" not in text]
    # Too large: it is not even sent.
    result = give(page, "drop", "large.jpg", bytes(3 * 2**20))
    assert "takes 2.0 MB" in result.inner_text()


def test_a_video_has_a_card_and_a_timeline_for_each_person(open_page, portrait, tmp_path):
    still = np.asarray(Image.open(io.BytesIO(portrait)).convert("RGB"))
    moved = [np.ascontiguousarray(np.roll(still, number // 2, axis=1)) for number in range(24)]
    path = save_video(tmp_path / "clip.mp4", moved, codec="libx264")
    page = open_page()
    result = give(page, "drop", "clip.mp4", path.read_bytes(), "video/mp4")
    assert result.locator("header p").inner_text().startswith("1 person: ")
    assert result.locator(".timeline .dot").count() == 16
    label = result.get_by_role("img", name="Person 1: p_fake in 16 frames").get_attribute("aria-label")
    assert "lowest 0." in label
    result.locator("summary", has_text="All 16 frames").click()
    assert result.locator("tbody tr").count() == 16
    result.get_by_role("button", name="Show the frame at").last.click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_sticks_out_and_all_text_can_be_read(open_page, portrait, scheme):
    page = open_page(viewport={"width": 360, "height": 700}, color_scheme=scheme, reduced_motion="reduce")
    give(page, "drop", f"{'long' * 30}.jpg", portrait)
    page.locator("#model summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    contrast, text = page.evaluate(LEAST_CONTRAST)
    assert contrast >= 4.5, text


def test_a_wrong_token_is_said_to_be_wrong(open_page):
    page = open_page(is_unlocked=False)
    page.get_by_label("Token").fill("some-other-token")
    page.get_by_role("button", name="Go on").click()
    page.wait_for_selector("#status:has-text('not the right one')")
    assert not page.locator("#drop").is_visible()
    page.complaints[:] = [text for text in page.complaints if "401" not in text]
