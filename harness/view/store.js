// What the page knows, and the shards that it loads when they are needed.
const by = (id) => document.getElementById(id);
const data = JSON.parse(by("data").textContent);
const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const whole = (value) => value.toLocaleString("en");
const runs = data.runs.map(([ids, name, about], place) => ({ ids, name, about, place }));
const tasks = data.tasks.map(([name, metric, up, hidden], place) => ({ name, metric, up, hidden, place }));
const facetNames = Object.keys(data.facets);
const WRONG = 1, UNSCORED = 2, KEPT = 48;

// A sample in the index, by the places of its facts.
const RUN = 0, TASK = 1, NUMBER = 2, FACTOR = 3, FILTER = 4, SHARD = 5, PLACE = 6, SCORE = 7, FLAGS = 8, ANSWER = 9;
const documents = [];
const progress = { loaded: 0 };

const waiting = new Map(), shards = new Map();
window.harnessView = (name, encoded) => {
  const known = waiting.get(name);
  if (known) known.take(JSON.parse(encoded));
};
const load = (name) => {
  if (waiting.has(name)) return waiting.get(name).promise;
  const held = {};
  held.promise = new Promise((take, refuse) => {
    held.take = take;
    const script = document.createElement("script");
    script.src = `data/${name}.js`;
    script.async = true;
    script.onload = () => { script.remove(); refuse(new Error(`data/${name}.js holds nothing`)); };
    script.onerror = () => { script.remove(); refuse(new Error(`data/${name}.js cannot be loaded`)); };
    document.head.append(script);
  }).finally(() => waiting.delete(name));
  waiting.set(name, held);
  return held.promise;
};
// Texts of samples: the shards used last are kept.
const shard = async (number) => {
  const known = shards.get(number);
  if (known) { shards.delete(number); shards.set(number, known); return known; }
  const found = await load(`texts-${number}`);
  shards.set(number, found);
  while (shards.size > KEPT) shards.delete(shards.keys().next().value);
  return found;
};
const textsOf = async (entry) => (await shard(entry[SHARD]))[entry[PLACE]];

const loadIndex = async (onPart) => {
  for (let part = 0; part < data.parts; part += 1) {
    const rows = await load(`index-${part}`);
    for (const [task, number, snippet, facets, samples] of rows) {
      documents.push({ task, number, snippet, facets, samples, place: documents.length });
    }
    progress.loaded = part + 1;
    onPart();
    await new Promise((go) => setTimeout(go));
  }
};
