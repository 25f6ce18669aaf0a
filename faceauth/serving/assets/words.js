/* What a record says, in words. */

const STATUS_WORDS = { no_face: "No face found", too_small: "Too small", unreadable: "Cannot be read" };

/** The class that colours a record: fake, real, unsure or none. */
export function toneOf(record) {
  if (record.label === null) return "none";
  return record.unsure ? "unsure" : record.label;
}

/** A word or two, and a softer addition. */
export function verdictWords(record) {
  if (record.label === null) return [STATUS_WORDS[record.status] ?? record.status, ""];
  if (record.unsure) return ["Unsure", `rather ${record.label}`];
  return [record.label === "fake" ? "Fake" : "Real", record.label === "real" ? "nothing was found" : ""];
}

/** The same in one phrase, for labels and announcements. */
export function verdictPhrase(record) {
  const [word, addition] = verdictWords(record);
  return (record.unsure && addition ? `${word}, ${addition}` : word).toLowerCase();
}

function about(pFake) {
  if (pFake < 0.005) return "fewer than 1 is";
  if (pFake > 0.995) return "more than 99 are";
  const n = Math.round(100 * pFake);
  return n === 1 ? "about 1 is" : `about ${n} are`;
}

/** What the score means, in sentences. */
export function scoreSentences(record, model) {
  if (record.p_fake === null) return [];
  const whose = record.kind === "person" && record.n_frames > 1 ? ` It is the mean over ${record.n_frames} frames.` : "";
  const sentences = [
    model.is_calibrated
      ? `Of 100 faces with this score, ${about(record.p_fake)} fake, if real and fake faces are equally common and of the kinds that the detector knows.${whose}`
      : `Its score is ${record.p_fake.toFixed(2)} of 1. This detector was not calibrated, so the score is no probability.${whose}`,
  ];
  if (record.unsure) sentences.push("The score lies where a face may be either: take it for no answer.");
  return sentences;
}

/** Who may have made a fake; null if there is nothing to say. */
export function generatorSentence(record, model) {
  if (!record.generator) return null;
  if (record.generator === "unknown") {
    const score = record.generator_score === null ? "" : ` It lies farther from them than ${percentWords(record.generator_score)} of their own fakes do.`;
    return `Generator: unknown. It looks like none of the ${model.named_generators.length} that this detector can name.${score}`;
  }
  const score = record.generator_score === null ? "" : ` (${percentWords(record.generator_score)} among the ${model.named_generators.length} that it can name)`;
  return `Generator: most like ${record.generator}${score}.`;
}

export const percentWords = (share) => `${Math.round(100 * share)} %`;

/** A warning's name, and what it means if the server says so. */
export function warningWords(name, meanings) {
  const words = name.replaceAll("_", " ");
  const text = words[0].toUpperCase() + words.slice(1);
  return meanings[name] ? `${text}: ${meanings[name]}.` : `${text}.`;
}

/** One sentence on all records of a file. */
export function summary(file) {
  const people = file.records.filter((record) => record.kind === "person");
  const judged = people.length ? people : file.records.filter((record) => record.label !== null);
  const [one, many] = people.length ? ["person", "people"] : ["face", "faces"];
  if (!judged.length) return file.is_video ? "No face was judged in the video." : "No face was judged in the picture.";
  const counts = ["fake", "real", "unsure"]
    .map((tone) => [tone, judged.filter((record) => toneOf(record) === tone).length])
    .filter(([, n]) => n);
  if (judged.length === 1) return `1 ${one}: ${verdictPhrase(judged[0])}.`;
  return `${judged.length} ${many}: ${counts.map(([tone, n]) => `${n} ${tone}`).join(", ")}.`;
}

export function bytesWords(n) {
  return n >= 2 ** 20 ? `${(n / 2 ** 20).toFixed(n < 10 * 2 ** 20 ? 1 : 0)} MB` : `${Math.max(1, Math.round(n / 1024))} kB`;
}
