/* The picture or video, with a button around each face. */

import { make, percent } from "./dom.js";
import { toneOf, verdictPhrase } from "./words.js";

const SEEK_MS = 4000;

/** Shows a blob; resolves to null where the browser cannot. */
export async function openMedia(blob, isVideo) {
  const url = URL.createObjectURL(blob);
  const element = make(isVideo ? "video" : "img", isVideo ? { muted: true, controls: true, preload: "auto", playsInline: true } : { alt: "" });
  try {
    await new Promise((resolve, reject) => {
      element.addEventListener(isVideo ? "loadeddata" : "load", resolve, { once: true });
      element.addEventListener("error", reject, { once: true });
      setTimeout(reject, 10000);
      element.src = url;
    });
  } catch {
    URL.revokeObjectURL(url);
    return null;
  }
  return { element, url, width: element.naturalWidth || element.videoWidth, height: element.naturalHeight || element.videoHeight };
}

/** Goes to a time of a video and waits until it is shown. */
export function seek(video, time) {
  return new Promise((resolve) => {
    if (Math.abs(video.currentTime - time) < 0.001) return resolve();
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, SEEK_MS);
    video.addEventListener("seeked", done, { once: true });
    // Just behind the start of the frame, where rounding cannot fall back to the one before.
    video.currentTime = time + 0.001;
  });
}

/** A stage with the media, or with words where it cannot be shown. */
export function makeStage(media, file) {
  if (!media) return make("div", { class: "stage is-blank" }, `This browser cannot show ${file.is_video ? "this video" : "this kind of picture"}. The verdicts are as good as with it.`);
  return make("div", { class: "stage" }, media.element);
}

/** Puts a button around each face of records. */
export function drawBoxes(stage, file, entries, choose) {
  for (const old of stage.querySelectorAll(".box")) old.remove();
  if (stage.classList.contains("is-blank")) return [];
  return entries.map(({ record, name }) => {
    const [x1, y1, x2, y2] = record.box;
    const left = Math.max(0, x1) / file.width;
    const top = Math.max(0, y1) / file.height;
    const box = make(
      "button",
      {
        type: "button",
        class: `box ${toneOf(record)}${top < 0.07 ? " is-at-top" : ""}`,
        "aria-label": `${name}: ${verdictPhrase(record)}. Show its verdict.`,
        "aria-pressed": "false",
        at: {
          left: percent(left),
          top: percent(top),
          width: percent(Math.min(1, x2 / file.width) - left),
          height: percent(Math.min(1, y2 / file.height) - top),
        },
        on: { click: () => choose(record, box) },
      },
      make("span", {}, `${name.replace(/^(Face|Person) /, "")} · ${verdictPhrase(record)}`),
    );
    stage.append(box);
    return box;
  });
}

/** Draws a face with some of what is around it on a canvas. */
export function drawThumbnail(canvas, media, record) {
  const [x1, y1, x2, y2] = record.box ?? [0, 0, media.width, media.height];
  const side = record.box ? 1.3 * Math.max(x2 - x1, y2 - y1) : Math.min(media.width, media.height);
  const scale = media.element.naturalWidth || media.element.videoWidth;
  const factor = scale / media.width;
  const dense = Math.min(3, window.devicePixelRatio || 1);
  canvas.width = canvas.height = Math.round(88 * dense);
  canvas
    .getContext("2d")
    .drawImage(media.element, factor * ((x1 + x2) / 2 - side / 2), factor * ((y1 + y2) / 2 - side / 2), factor * side, factor * side, 0, 0, canvas.width, canvas.height);
}
