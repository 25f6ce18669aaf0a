/* The page: takes pictures by choice, drop or paste, asks the server, and shows what it says. */

import { make } from "./dom.js";
import { makeResult } from "./result.js";
import { bytesWords, percentWords, summary } from "./words.js";

const TOKEN_KEY = "faceauth-token";
const MAX_TRIES = 5;

const part = (id) => document.getElementById(id);
let about = null;
let queue = Promise.resolve();

/* What is said anyway where people look is announced for screen readers alone. */
function announce(text, { isBusy = false, isShown = true } = {}) {
  part("status").textContent = text;
  part("status").classList.toggle("is-busy", isBusy);
  part("status").classList.toggle("is-heard", !isShown);
}

/* The server */

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw { message: "The server does not answer.", hint: "Is it still running?" };
  }
  if (response.ok) return response.json();
  const document = await response.json().catch(() => null);
  const error = document?.error ?? { message: `The server answers ${response.status}.`, hint: null };
  throw { ...error, status: response.status, retryAfter: Number(response.headers.get("Retry-After")) };
}

async function askUntilFree(path, options) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask(path, options);
    } catch (error) {
      if (error.status !== 503 || attempt === MAX_TRIES) throw error;
      announce("The server is busy; this page asks again.", { isBusy: true });
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter || 2) * attempt));
    }
  }
}

/* Files */

function take(files) {
  if (!about || !files.length) return;
  for (const file of [...files].slice(0, about.limits.max_files)) queue = queue.then(() => judge(file));
}

async function judge(file) {
  part("drop").classList.add("is-small");
  if (file.size > about.limits.max_bytes) {
    refuse(file.name, { message: `The file has ${bytesWords(file.size)}; this server takes ${bytesWords(about.limits.max_bytes)}.`, hint: "Choose a smaller one." });
    return;
  }
  announce(`Judging ${file.name || "the picture"} …`, { isBusy: true });
  const body = new FormData();
  body.append("file", file, file.name || "pasted");
  try {
    const answer = await askUntilFree("predict", { method: "POST", body });
    const askHeat = async () => (await askUntilFree("predict?heatmap=1", { method: "POST", body })).files[0];
    show(await makeResult(answer.files[0], { blob: file, about, announce, askHeat }));
    announce(summary(answer.files[0]), { isShown: false });
  } catch (error) {
    if (error.status === 401) unlock();
    refuse(file.name, error);
  }
}

function show(article) {
  part("results").prepend(article);
  article.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

function refuse(name, error) {
  const text = error.message ?? String(error);
  show(make("article", { class: "result" }, make("header", {}, make("h2", {}, name || "A picture")), make("div", { class: "callout warning" }, make("p", {}, make("strong", {}, text)), error.hint ? make("p", {}, error.hint) : null)));
  announce(`No verdict. ${text}`, { isShown: false });
}

/* Ways in */

part("file").addEventListener("change", (event) => {
  take(event.target.files);
  // The same file again is another choice.
  event.target.value = "";
});

document.addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) {
    event.preventDefault();
    take(event.clipboardData.files);
  }
});

let depth = 0;
const bringsFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => {
  if (bringsFiles(event)) part("veil").hidden = ++depth < 1;
});
addEventListener("dragleave", (event) => {
  if (bringsFiles(event)) part("veil").hidden = --depth < 1;
});
addEventListener("dragover", (event) => {
  if (bringsFiles(event)) event.preventDefault();
});
addEventListener("drop", (event) => {
  depth = 0;
  part("veil").hidden = true;
  if (bringsFiles(event)) {
    event.preventDefault();
    take(event.dataTransfer.files);
  }
});

/* The token */

function unlock() {
  part("unlock").hidden = false;
  part("drop").hidden = true;
  part("token").focus();
}

part("unlock").addEventListener("submit", async (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN_KEY, part("token").value.trim());
  part("token").value = "";
  await begin();
});

/* What the server says of itself */

function describe(model) {
  const auroc = model.auroc_val;
  const facts = [
    ["Detector", `${model.name} (${model.detector})`],
    ["Called fake from", `p_fake ${model.threshold.value.toFixed(2)} (rule ${model.threshold.rule})`],
    ["Unsure", model.unsure ? `from ${model.unsure.low.toFixed(2)} up to ${Math.min(1, model.unsure.high).toFixed(2)}${model.unsure.coverage ? `; of each class ${percentWords(1 - model.unsure.coverage)} at most are expected on the wrong side` : ""}` : "this detector has no band of unsure scores"],
    ["Fakes it learned from", model.generators.join(", ") || "none named"],
    ["Reals it learned from", model.collections.join(", ") || "none named"],
    auroc?.value == null ? null : ["AUROC on kinds that it knows", `${auroc.value.toFixed(2)}${auroc.ci95 ? ` (${auroc.ci95.map((bound) => bound.toFixed(2)).join(" to ")})` : ""}; 0.5 is chance, 1 is perfect. On others it can be chance, or worse.`],
    model.unseen ? ["On kinds that it had never seen", model.unseen] : null,
  ];
  part("model").replaceChildren(make("details", {}, make("summary", {}, "The detector on this server"), make("dl", {}, ...facts.filter(Boolean).flatMap(([term, text]) => [make("dt", {}, term), make("dd", {}, text)]))));
}

async function begin() {
  try {
    about = await ask("models");
  } catch (error) {
    if (error.status === 401) {
      announce(sessionStorage.getItem(TOKEN_KEY) ? "That token is not the right one." : "");
      unlock();
    } else {
      announce(error.message);
    }
    return;
  }
  const wasLocked = !part("unlock").hidden;
  part("unlock").hidden = true;
  part("drop").hidden = false;
  announce("");
  if (wasLocked) part("file").focus();
  const { limits, can, models, version } = about;
  if (!can.videos) part("file").accept = "image/*";
  part("choose-label").querySelector("strong").textContent = can.videos ? "Choose a picture or a short video" : "Choose a picture";
  part("limits").textContent = `Up to ${bytesWords(limits.max_bytes)} and ${(limits.max_pixels / 1e6).toFixed(0)} megapixels${can.videos ? "; of a video, frames at even times are judged" : ""}.`;
  part("version").textContent = version;
  describe(models[0]);
}

begin();
