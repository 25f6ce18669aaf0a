/* How the score of a person runs through a video: a chart to look at, and a table with the same for all. */

import { make, makeSvg, percent } from "./dom.js";
import { toneOf, verdictPhrase } from "./words.js";

const seconds = (time) => `${time.toFixed(1)} s`;

/** The chart and its table; `show` is called with a record to look at. */
export function makeTimeline(records, { name, model, end, show }) {
  const judged = records.filter((record) => record.p_fake !== null);
  const x = (record) => (end > 0 ? record.timestamp_s / end : 0);
  const points = judged.map((record) => `${(100 * x(record)).toFixed(2)},${(100 * (1 - record.p_fake)).toFixed(2)}`).join(" ");
  const band = model.unsure;
  const plot = make(
    "div",
    { class: "plot", role: "img", "aria-label": description(judged, name) },
    band ? make("div", { class: "band", at: { bottom: percent(band.low), top: percent(1 - Math.min(1, band.high)) } }) : null,
    makeSvg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, makeSvg("polyline", { points })),
    ...judged.map((record) =>
      make("button", {
        type: "button",
        class: `dot ${toneOf(record)}`,
        // The table's buttons are those for the keyboard.
        tabIndex: -1,
        "aria-hidden": "true",
        title: `${seconds(record.timestamp_s)}: ${verdictPhrase(record)}, ${record.p_fake.toFixed(2)}`,
        at: { left: percent(x(record)), bottom: percent(record.p_fake) },
        on: { click: () => show(record) },
      }),
    ),
    ...[0, 0.5, 1].map((value) => make("span", { class: "y", "aria-hidden": "true", at: { bottom: percent(value) } }, ["real", "½", "fake"][2 * value])),
  );
  return [
    make("div", { class: "timeline" }, plot, make("div", { class: "x", "aria-hidden": "true" }, make("span", {}, "0 s"), make("span", {}, seconds(end)))),
    make(
      "details",
      {},
      make("summary", {}, `${records.length === 1 ? "The frame" : `All ${records.length} frames`}`),
      make(
        "div",
        { class: "scroll", tabIndex: 0, role: "region", "aria-label": `Frames of ${name}` },
        make(
          "table",
          {},
          make("thead", {}, make("tr", {}, ...["Time", "Verdict", "p_fake", ""].map((title) => make("th", { scope: "col" }, title)))),
          make(
            "tbody",
            {},
            ...records.map((record) =>
              make(
                "tr",
                {},
                make("td", {}, seconds(record.timestamp_s)),
                make("td", {}, verdictPhrase(record)),
                make("td", {}, record.p_fake === null ? "–" : record.p_fake.toFixed(3)),
                make("td", {}, make("button", { type: "button", "aria-label": `Show the frame at ${seconds(record.timestamp_s)}`, on: { click: () => show(record) } }, "Show")),
              ),
            ),
          ),
        ),
      ),
    ),
  ];
}

function description(judged, name) {
  if (!judged.length) return `${name}: no frame was judged.`;
  const scores = judged.map((record) => record.p_fake);
  return `${name}: p_fake in ${judged.length} frames from ${seconds(judged[0].timestamp_s)} to ${seconds(judged.at(-1).timestamp_s)}, lowest ${Math.min(...scores).toFixed(2)}, highest ${Math.max(...scores).toFixed(2)}. The table below has all of them.`;
}
