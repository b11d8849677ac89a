// Which documents are listed: by facts at once, by texts as the shards come in.
const state = { listed: [], chosen: null, run: "", found: null, words: [], factor: null, search: 0, searched: 0 };

// With a factor chosen, what other factors did is of no account.
const atFactor = (sample) => state.factor === null || sample[FACTOR] === null || sample[FACTOR] === state.factor;
const opposed = (one, other) => (runs.length < 2 ? one[FACTOR] !== other[FACTOR]
  : one[RUN] !== other[RUN] && (one[FACTOR] === other[FACTOR] || one[FACTOR] === null || other[FACTOR] === null));
const differs = (own, of) => {
  const known = own.filter((sample) => sample[of] !== null);
  return known.some((one, place) => known.slice(place + 1).some((other) => one[of] !== other[of] && opposed(one, other)));
};
const KINDS = {
  "": () => true,
  score: (own, all) => differs(all, SCORE),
  answer: (own, all) => differs(all, ANSWER),
  wrong: (own) => own.some((sample) => sample[FLAGS] & WRONG),
  right: (own) => own.some((sample) => sample[SCORE] !== null && !(sample[FLAGS] & (WRONG | UNSCORED))),
  unscored: (own) => own.some((sample) => sample[FLAGS] & UNSCORED),
};
const bound = (id) => (by(id).value === "" ? null : Number(by(id).value));

const filter = () => {
  const kind = KINDS[by("show").value], run = by("run").value, task = by("task").value;
  const low = bound("low"), high = bound("high");
  const facets = facetNames.map((name, place) => [place, by(`facet-${place}`).value]).filter(([, value]) => value !== "");
  const fits = (document) => {
    if (state.found && !state.found.has(document.place)) return false;
    for (const [place, value] of facets) if (document.facets[place] !== Number(value)) return false;
    let own = document.samples;
    if (task !== "") own = own.filter((sample) => sample[TASK] === Number(task));
    if (run !== "") own = own.filter((sample) => sample[RUN] === Number(run));
    if (low !== null || high !== null) {
      own = own.filter((sample) => sample[SCORE] !== null && (low === null || sample[SCORE] >= low) && (high === null || sample[SCORE] <= high));
    }
    return own.length > 0 && kind(own.filter(atFactor), document.samples.filter(atFactor));
  };
  state.listed = documents.filter(fits);
};
const filtered = () => Boolean(by("text").value || ["show", "run", "task", "low", "high"].some((id) => by(id).value !== "")
  || facetNames.some((name, place) => by(`facet-${place}`).value !== ""));

// Search: shard by shard, so that the page stays at hand. A newer search ends an older one.
const holds = (value, words, depth = 0) => {
  if (typeof value === "string") {
    const low = value.toLowerCase();
    for (const word of [...words]) if (low.includes(word)) words.delete(word);
  } else if (value && typeof value === "object" && depth < 8) {
    for (const inner of Object.values(value)) { if (!words.size) break; holds(inner, words, depth + 1); }
  }
  return words.size === 0;
};
const search = async (onProgress) => {
  const own = (state.search += 1), words = by("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  state.words = words;
  state.searched = 0;
  if (!words.length) { state.found = null; onProgress(); return; }
  const found = new Set();
  state.found = found;
  const places = new Map();
  for (const document of documents) {
    for (const sample of document.samples) {
      if (!places.has(sample[SHARD])) places.set(sample[SHARD], []);
      places.get(sample[SHARD]).push([sample[PLACE], document.place]);
    }
  }
  let shown = performance.now();
  for (const number of [...places.keys()].sort((a, b) => a - b)) {
    const texts = shards.get(number) || await load(`texts-${number}`);
    if (own !== state.search) return;
    for (const [place, document] of places.get(number)) {
      if (!found.has(document) && holds(texts[place], new Set(words))) found.add(document);
    }
    state.searched += 1;
    if (performance.now() - shown > 200) {
      onProgress();
      shown = performance.now();
      await new Promise((go) => setTimeout(go));
      if (own !== state.search) return;
    }
  }
  state.searched = data.shards;
  onProgress();
};

// Addresses: #task=…&doc=…&run=…&factor=…
const address = (document, run) => {
  const parts = [`task=${encodeURIComponent(tasks[document.task].name)}`, `doc=${encodeURIComponent(document.number)}`];
  if (run) parts.push(`run=${encodeURIComponent(run)}`);
  if (state.factor !== null) parts.push(`factor=${state.factor}`);
  return `#${parts.join("&")}`;
};
const addressed = () => {
  const asked = {};
  for (const part of location.hash.slice(1).split("&")) {
    const at = part.indexOf("=");
    if (at < 1) continue;
    try { asked[part.slice(0, at)] = decodeURIComponent(part.slice(at + 1)); } catch { asked[part.slice(0, at)] = ""; }
  }
  return asked;
};
const meant = (asked) => (document) => document.samples.some((sample) =>
  (!asked.task || tasks[sample[TASK]].name === asked.task)
  && (!asked.doc || String(sample[NUMBER]) === asked.doc)
  && (!asked.run || runs[sample[RUN]].ids.includes(asked.run)));
