/* What became of one file: the picture with its faces, a card for each, and the records as JSON. */

import { makeCard } from "./cards.js";
import { make, percent } from "./dom.js";
import { drawBoxes, drawThumbnail, makeStage, openMedia, seek } from "./stage.js";
import { makeTimeline } from "./timeline.js";
import { summary } from "./words.js";

/** The article of a file that was judged; `askHeat` asks the server for its heat maps. */
export async function makeResult(answered, { blob, about, announce, askHeat }) {
  const model = about.models[0];
  const media = await openMedia(blob, answered.is_video);
  if (media) {
    // Boxes are in pixels of the server's picture, whatever the browser makes of the file.
    media.width = answered.width;
    media.height = answered.height;
    if (!answered.is_video) media.element.alt = `The picture. ${summary(answered)}`;
  }
  const stage = makeStage(media, answered);
  const list = make("ol", { class: "faces", role: "list" });
  const article = make(
    "article",
    { class: "result" },
    make("header", {}, make("h2", { tabIndex: -1 }, answered.name ?? "A picture"), make("p", {}, summary(answered))),
    make("div", { class: "sides" }, stage, list),
    answered.note ? make("p", { class: "callout" }, `${answered.note[0].toUpperCase()}${answered.note.slice(1)}.`) : null,
    make("p", { class: "caution" }, "Read ", make("em", {}, "fake"), " as “look closer”, ", make("em", {}, "real"), " as “nothing was found”, and neither as evidence."),
    jsonOf(answered, announce),
  );
  const context = { answered, media, stage, list, model, about, announce, askHeat };
  if (answered.is_video) showPeople(context);
  else showFaces(context);
  if (media) article.addEventListener("gone", () => URL.revokeObjectURL(media.url));
  return article;
}

function showFaces({ answered, media, stage, list, model, about, announce, askHeat }) {
  const heat = about.can.heatmap && media ? makeHeat({ answered, stage, announce, askHeat }) : null;
  const entries = answered.records.map((record, i) => ({ record, name: answered.records.length > 1 ? `Face ${i + 1}` : record.label === null && !record.box ? "Picture" : "Face 1" }));
  const boxed = entries.filter(({ record }) => record.box);
  const boxes = drawBoxes(stage, answered, boxed, (record, box) => {
    for (const other of boxes) other.setAttribute("aria-pressed", String(other === box));
    cards.forEach((card, i) => card.classList.toggle("is-chosen", entries[i].record === record));
    cards[entries.findIndex((entry) => entry.record === record)].scrollIntoView({ block: "nearest", behavior: calm() });
  });
  const cards = entries.map(({ record, name }) => {
    const thumbnail = media && (record.box || record.label !== null) ? make("canvas", { "aria-hidden": "true" }) : null;
    if (thumbnail) drawThumbnail(thumbnail, media, record);
    const actions = heat && record.label !== null ? [heat(answered.records.indexOf(record), name)] : [];
    return makeCard(record, { name, model, about, thumbnail, actions });
  });
  list.append(...cards);
}

function showPeople({ answered, media, stage, list, model, about }) {
  const end = Math.max(...answered.records.map((record) => record.timestamp_s ?? 0));
  const show = async (record) => {
    if (!media) return;
    media.element.pause();
    await seek(media.element, record.timestamp_s);
    const here = answered.records.filter((other) => other.kind === "face" && other.frame === record.frame && other.box);
    drawBoxes(stage, answered, here.map((other) => ({ record: other, name: other.person ? `Person ${other.person}` : "Face" })), (other) => {
      const card = [...list.children].find((item) => item.dataset.person === String(other.person));
      card?.scrollIntoView({ block: "nearest", behavior: calm() });
    });
  };
  if (media) media.element.addEventListener("play", () => drawBoxes(stage, answered, [], () => {}));
  for (const { name, records, whole } of people(answered)) {
    const thumbnail = media ? make("canvas", { "aria-hidden": "true" }) : null;
    const card = makeCard(whole, { name, model, about, thumbnail, extra: makeTimeline(records, { name, model, end, show }) });
    card.dataset.person = String(whole.person);
    list.append(card);
    if (thumbnail) thumbnail.dataset.frame = String(answered.records.indexOf(whole));
  }
  if (media) drawLater(list, media, answered, show);
}

/* Thumbnails of a video come frame by frame. */
async function drawLater(list, media, answered, show) {
  for (const canvas of list.querySelectorAll("canvas")) {
    const record = answered.records[Number(canvas.dataset.frame)];
    await seek(media.element, record.timestamp_s);
    drawThumbnail(canvas, media, record);
  }
  const first = answered.records.find((record) => record.box);
  if (first) await show(first);
}

/* Each person with the records of their frames; of a video in which nobody was judged, its first record. */
function people(answered) {
  const found = answered.records.filter((record) => record.kind === "person");
  if (!found.length) return [{ name: "Video", records: answered.records, whole: answered.records[0] }];
  return found.map((whole) => ({
    name: `Person ${whole.person}`,
    records: answered.records.filter((record) => record.kind === "face" && record.person === whole.person),
    whole,
  }));
}

/* Makes buttons that lay a face's heat map over the picture; all maps of a picture come at once, on demand. */
function makeHeat({ answered, stage, announce, askHeat }) {
  let asked = null;
  const buttons = [];
  const clear = () => {
    stage.querySelector(".heat")?.remove();
    for (const legend of stage.parentElement.querySelectorAll(".legend")) legend.remove();
    for (const button of buttons) button.setAttribute("aria-pressed", "false");
  };
  const lay = async (number, name, button) => {
    if (button.getAttribute("aria-pressed") === "true") return clear();
    announce("Looking where; the first time takes longer …", { isBusy: true });
    try {
      asked ??= askHeat();
      const map = (await asked).heat_maps.find((one) => one.record === number);
      if (!map) return announce(`There is no heat map of ${name}: only the largest faces have one.`);
      clear();
      const [x1, y1, x2, y2] = map.square_xyxy;
      const at = { left: percent(x1 / answered.width), top: percent(y1 / answered.height), width: percent((x2 - x1) / answered.width), height: percent((y2 - y1) / answered.height) };
      stage.append(make("img", { class: "heat", src: `data:image/png;base64,${map.png_base64}`, alt: `Heat map of ${name}. ${map.summary}.`, at }));
      button.setAttribute("aria-pressed", "true");
      const text = `${map.summary}. Lines run where the heat is half of what it can be.`;
      button.parentElement.after(make("p", { class: "legend" }, make("i", { "aria-hidden": "true" }), text));
      announce(text, { isShown: false });
    } catch (error) {
      asked = null;
      announce(error.message ?? String(error));
    }
  };
  return (number, name) => {
    const button = make("button", { type: "button", "aria-pressed": "false", on: { click: () => lay(number, name, button) } }, "Show where");
    button.setAttribute("aria-label", `Show where ${name} looks fake`);
    buttons.push(button);
    return button;
  };
}

function jsonOf(answered, announce) {
  const text = JSON.stringify(answered, null, 2);
  const pre = make("pre", {}, text);
  const copy = make("button", { type: "button", on: { click: () => copyText(text, pre, announce) } }, "Copy JSON");
  return make(
    "details",
    {},
    make("summary", {}, "The records as JSON"),
    make("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "JSON" }, pre),
    make("div", { class: "actions result-actions" }, copy),
  );
}

async function copyText(text, pre, announce) {
  try {
    await navigator.clipboard.writeText(text);
    announce("The JSON is in the clipboard.");
  } catch {
    // Pages that come neither from this machine nor encrypted may not write there.
    getSelection().selectAllChildren(pre);
    announce("The JSON is selected; copy it with your keyboard.");
  }
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
}
