/* The card of a face: what it was called, how sure that is, and what to know. */

import { make, percent } from "./dom.js";
import { generatorSentence, scoreSentences, toneOf, verdictWords, warningWords } from "./words.js";

/** A scale from real to fake with the unsure band and the face's place on it; the text beside says the same. */
export function makeGauge(pFake, model) {
  const band = model.unsure;
  return make(
    "div",
    { class: "gauge", "aria-hidden": "true" },
    make(
      "div",
      { class: "track" },
      band ? make("div", { class: "band", at: { left: percent(band.low), right: percent(1 - Math.min(1, band.high)) } }) : null,
      make("div", { class: "here", at: { left: percent(pFake) } }),
    ),
    make("div", { class: "ends" }, make("span", {}, "real"), band ? make("span", {}, "hatched: unsure") : null, make("span", {}, "fake")),
  );
}

/** A card; `actions` are buttons that belong to it. */
export function makeCard(record, { name, model, about, thumbnail, actions = [], extra = [] }) {
  const [word, addition] = verdictWords(record);
  const sentences = scoreSentences(record, model);
  const generator = generatorSentence(record, model);
  return make(
    "li",
    { class: `face ${toneOf(record)}` },
    thumbnail ?? make("div", { class: "blank", "aria-hidden": "true" }, record.label === null ? "–" : name.replace(/^(Face|Person) /, "")),
    make(
      "div",
      {},
      make("h3", {}, name),
      make("p", { class: "word" }, word, addition ? make("small", {}, addition) : null),
      record.p_fake === null ? null : makeGauge(record.p_fake, model),
    ),
    make(
      "div",
      { class: "more" },
      record.label === null && record.reason ? make("p", {}, `${sentence(record.reason)}`) : null,
      ...sentences.map((text) => make("p", {}, text)),
      generator ? make("p", {}, generator) : null,
      record.warnings.length ? make("ul", { class: "warnings" }, ...record.warnings.map((warning) => make("li", {}, warningWords(warning, about.warnings)))) : null,
      record.label !== null && record.reason ? make("p", {}, sentence(record.reason)) : null,
      ...extra,
      actions.length ? make("div", { class: "actions" }, ...actions) : null,
    ),
  );
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}
