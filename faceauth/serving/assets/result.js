/* What became of one file: the picture with its faces, a card for each, and the records as JSON. */

import { makeCard } from "./cards.js";
import { make } from "./dom.js";
import { drawBoxes, drawThumbnail, makeStage, openMedia, seek } from "./stage.js";
import { makeTimeline } from "./timeline.js";
import { summary } from "./words.js";

/** The article of a file that was judged. */
export async function makeResult(answered, { blob, about, announce }) {
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
    jsonOf(answered, announce),
  );
  const context = { answered, media, stage, list, model, about };
  if (answered.is_video) showPeople(context);
  else showFaces(context);
  if (media) article.addEventListener("gone", () => URL.revokeObjectURL(media.url));
  return article;
}

function showFaces({ answered, media, stage, list, model, about }) {
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
    return makeCard(record, { name, model, about, thumbnail });
  });
  list.append(...cards);
}

function showPeople({ answered, media, stage, list, model, about }) {
  const end = Math.max(...answered.records.map((record) => record.timestamp_s ?? 0));
  const show = async (record) => {
    if (!media) return;
    media.element.pause();
    await seek(media.element, record.timestamp_s);
    const here = answered.records.filter((other) => other.frame === record.frame && other.box);
    drawBoxes(stage, answered, here.map((other) => ({ record: other, name: "Face" })), () => {});
  };
  if (media) media.element.addEventListener("play", () => drawBoxes(stage, answered, [], () => {}));
  for (const { name, records, whole } of people(answered)) {
    const thumbnail = media ? make("canvas", { "aria-hidden": "true" }) : null;
    list.append(makeCard(whole, { name, model, about, thumbnail, extra: makeTimeline(records, { name, model, end, show }) }));
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

/* Until people are told apart, all faces of a video are one list; its middle score stands for it. */
function people(answered) {
  const judged = answered.records.filter((record) => record.p_fake !== null).sort((a, b) => a.p_fake - b.p_fake);
  const whole = judged[Math.floor(judged.length / 2)] ?? answered.records[0];
  return [{ name: "All faces", records: answered.records, whole }];
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
