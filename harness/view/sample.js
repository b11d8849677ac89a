// One document: what was asked, and a card for each run.
const show = (value) => {
  if (value === null || value === undefined) return "—";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return whole(value);
  const size = Math.abs(value);
  return size < 0.001 || size >= 1e7 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
};
const readable = (name) => name.replaceAll("_", " ");

// Text with the searched words marked.
const marked = (node, text) => {
  const words = state.words.filter((word) => word.length > 1);
  const low = text.toLowerCase();
  if (!words.length || low.length !== text.length) { node.append(text); return node; }
  let at = 0;
  while (at < text.length) {
    let next = -1, length = 0;
    for (const word of words) {
      const place = low.indexOf(word, at);
      if (place >= 0 && (next < 0 || place < next)) { next = place; length = word.length; }
    }
    if (next < 0) break;
    node.append(text.slice(at, next), make("mark", "", text.slice(next, next + length)));
    at = next + length;
  }
  node.append(text.slice(at));
  return node;
};
const passage = (text, className) => marked(make("p", className), text);

// Keys and values of any depth that is worth showing.
const pairs = (value) => {
  const list = make("dl", "pairs");
  for (const [key, inner] of Object.entries(value)) {
    const item = make("div"), said = make("dd");
    item.append(make("dt", "", readable(key)), said);
    if (inner && typeof inner === "object") {
      if (Array.isArray(inner) && inner.every((one) => one === null || typeof one !== "object")) said.textContent = inner.map(show).join(", ") || "—";
      else said.append(pairs(inner));
    } else marked(said, show(inner));
    list.append(item);
  }
  return list;
};
// What is unfolded stays so from document to document.
const unfolded = new Map();
const fold = (title, inner, open = false) => {
  const node = make("details", "fold");
  node.open = unfolded.get(title) ?? open;
  node.addEventListener("click", () => setTimeout(() => unfolded.set(title, node.open)));
  node.append(make("summary", "", title), inner);
  return node;
};

// Cards.
const optionsOf = (texts) => {
  const best = Math.max(...texts.options.map(([, value]) => (value === null ? -Infinity : value)));
  const list = make("ol", "options");
  texts.options.forEach(([words, value], place) => {
    const item = make("li", value === best ? "best" : "");
    const target = words.trim() !== "" && (words.trim() === texts.target.trim() || String(place) === texts.target.trim());
    item.append(marked(make("span", "words"), words.trim() || "(nothing)"), make("span", "number", value === null ? "—" : value.toFixed(2)));
    if (target) item.append(make("span", "target", "target"));
    list.append(item);
  });
  return list;
};
const verdict = (sample) => {
  const [score, flags] = [sample[SCORE], sample[FLAGS]];
  const kind = flags & UNSCORED ? "unscored" : score === null ? "none" : flags & WRONG ? "wrong" : "right";
  return { kind, text: flags & UNSCORED ? "unscored" : score === null ? "" : show(score) };
};
const alike = (a, b) => a[0][RUN] === b[0][RUN] && a[0][TASK] === b[0][TASK]
  && a.every((sample, place) => b[place] && sample[ANSWER] === b[place][ANSWER] && sample[SCORE] === b[place][SCORE] && sample[FLAGS] === b[place][FLAGS]);
const grouped = (found) => {
  const groups = new Map();
  for (const sample of found.samples) {
    const key = `${sample[RUN]} ${sample[TASK]} ${sample[NUMBER]}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(sample);
  }
  const ordered = [...groups.values()].sort(([a], [b]) => a[RUN] - b[RUN] || a[TASK] - b[TASK] || (a[FACTOR] ?? 0) - (b[FACTOR] ?? 0) || a[NUMBER] - b[NUMBER]);
  const cards = [];
  for (const group of ordered) {
    const known = cards.find((card) => alike(card.group, group));
    if (known) known.factors.push(group[0][FACTOR]);
    else cards.push({ group, factors: [group[0][FACTOR]] });
  }
  return cards;
};
const factorsSaid = (factors) => {
  const known = factors.filter((one) => one !== null);
  if (!known.length) return "";
  if (known.length > 3) return `factors ${show(known[0])} to ${show(known[known.length - 1])}, ${known.length} alike`;
  return `factor${known.length > 1 ? "s" : ""} ${known.map(show).join(", ")}`;
};
const metricsOf = (texts, filterName) => {
  const list = make("dl", "metrics"), rests = make("div");
  for (const [names, value] of texts.metrics) {
    const said = (names.length > 3 ? [...names.slice(0, 2), `${names.length - 2} more`] : names).map(readable).join(", ");
    if (value !== null && typeof value === "object") { rests.append(make("h4", "", said), pairs(value)); continue; }
    if (value === null && names.length > 3) continue;
    const item = make("div");
    item.title = names.join(", ");
    item.append(make("dt", "", said), make("dd", "", show(value)));
    list.append(item);
  }
  if (filterName !== "none") list.prepend(make("div", "filter", `filter ${filterName}`));
  const nodes = list.childNodes.length ? [list] : [];
  if (rests.childNodes.length) nodes.push(fold("What the metrics rest on", rests));
  return nodes;
};
const judgeOf = (texts) => {
  const box = make("div", "judge"), ratings = make("ul", "ratings");
  for (const [name, value] of Object.entries(texts.ratings)) {
    const item = make("li", value === null ? "missing" : "");
    item.append(make("span", "", readable(name)), make("b", "", value === null ? "none" : show(value)));
    ratings.append(item);
  }
  box.append(make("h4", "", "Judge"), ratings);
  const reasons = Object.entries(texts.reasons || {}).filter(([, votes]) => votes.length);
  if (reasons.length) {
    const inner = make("div");
    for (const [name, votes] of reasons) for (const vote of votes) {
      const quote = make("blockquote");
      quote.append(make("span", "under", readable(name)), passage(vote, ""));
      inner.append(quote);
    }
    box.append(fold("What the judge said", inner));
  }
  return box;
};
const same = (one, other) => one.replace(/\s+/g, "") === other.replace(/\s+/g, "");
const answersOf = (texts) => {
  const nodes = [], own = (texts.drawings || []).filter((one) => one.kind === "marks");
  const taken = new Set();
  for (const answer of texts.answers || []) {
    const drawn = own.find((one) => same(one.pieces.filter(([, kind]) => kind !== "rejected").map(([words]) => words).join(""), answer));
    if (drawn) { taken.add(drawn); const box = make("div", "answer"); box.append(...pieces(drawn.pieces)); nodes.push(box); }
    else nodes.push(passage(answer.replace(/^\s*\n/, "") || "(nothing)", answer.trim() ? "answer" : "answer nothing"));
  }
  return [nodes, (texts.drawings || []).filter((one) => !taken.has(one))];
};
const cardOf = (card, loaded, common) => {
  const [sample] = card.group, run = runs[sample[RUN]], texts = loaded.get(sample);
  const node = make("section", "card"), head = make("header"), score = verdict(card.group.find((one) => one[SCORE] !== null || one[FLAGS]) || sample);
  node.dataset.run = run.place;
  const title = make("h3", "", run.name);
  title.title = run.about;
  head.append(title, make("span", `verdict ${score.kind}`, score.text));
  const said = [factorsSaid(card.factors), common.oneTask ? "" : tasks[sample[TASK]].name].filter(Boolean).join(" · ");
  if (said) head.append(make("p", "under", said));
  node.append(head);
  if (texts.prompt && texts.prompt !== common.prompt) node.append(fold("Its prompt", passage(texts.prompt, "prompt")));
  if (texts.options) node.append(optionsOf(texts));
  const [answers, drawings] = answersOf(texts);
  node.append(...answers, ...drawings.map(drawing));
  for (const one of card.group) {
    const own = loaded.get(one);
    if (own.filtered) node.append(fold(`Behind the filter${data.filters[one[FILTER]] === "none" ? "" : ` ${data.filters[one[FILTER]]}`}`, passage(own.filtered.join("\n"), "prompt")));
    if (own.ratings) node.append(judgeOf(own));
    if (own.metrics) node.append(...metricsOf(own, data.filters[one[FILTER]]));
  }
  if (texts.facts) node.append(fold("Trace", pairs(texts.facts.length === 1 ? texts.facts[0] : texts.facts)));
  return node;
};

// The document.
let drawing_number = 0;
const drawDocument = async () => {
  const own = (drawing_number += 1), found = state.chosen, place = by("document");
  if (!found) { place.replaceChildren(make("p", "empty", documents.length ? "Nothing matches. Clear a filter to see more." : "Loading …")); return; }
  let loaded;
  try {
    const cards = grouped(found), needed = cards.flatMap((card) => card.group);
    loaded = new Map(await Promise.all(needed.map(async (sample) => [sample, await textsOf(sample)])));
    if (own !== drawing_number) return;
    place.replaceChildren(...documentOf(found, cards, loaded));
  } catch (error) {
    if (own === drawing_number) place.replaceChildren(make("p", "empty", `${error.message}: is the folder whole?`));
    return;
  }
  const asked = place.querySelector(".card.asked");
  if (asked) asked.scrollIntoView({ block: "nearest" });
};
const documentOf = (found, cards, loaded) => {
  const first = loaded.get(cards[0].group[0]);
  const often = new Map();
  for (const card of cards) {
    const prompt = loaded.get(card.group[0]).prompt || "";
    often.set(prompt, (often.get(prompt) || 0) + 1);
  }
  const [prompt] = [...often].sort((a, b) => b[1] - a[1])[0];
  const common = { prompt, oneTask: new Set(cards.map((card) => card.group[0][TASK])).size === 1 };
  const head = make("header", "head"), title = make("h2", "", tasks[found.task].name);
  title.append(make("span", "", ` ${found.number}`));
  const back = make("button", "back", "‹ Documents"), link = make("button", "link", "Copy link");
  back.type = link.type = "button";
  back.addEventListener("click", () => (history.state === "read" ? history.back() : toList()));
  link.addEventListener("click", () => copyLink(link));
  link.id = "copy";
  head.append(back, title, link);
  const tags = make("ul", "tags");
  facetNames.forEach((name, place) => {
    if (found.facets[place] >= 0) {
      const item = make("li");
      item.append(make("span", "", `${readable(name)} `), data.facets[name][found.facets[place]]);
      tags.append(item);
    }
  });
  const nodes = [head, tags];
  if (prompt) nodes.push(promptOf(prompt, often.size > 1));
  if (first.target) {
    const target = make("div", "asked-for");
    const option = /^\d+$/.test(first.target) && first.options ? first.options[Number(first.target)] : undefined;
    target.append(make("h4", "", "Target"), passage(option ? `${option[0].trim()} (${first.target})` : first.target, ""));
    nodes.push(target);
  }
  if (first.row) nodes.push(fold("All fields of the document", pairs(first.row), !prompt));
  const factors = [...new Set(cards.flatMap((card) => card.factors))].filter((one) => one !== null).sort((a, b) => a - b);
  if (factors.length > 1) nodes.push(factorsBar(factors));
  const grid = make("div", cards.length === 1 ? "cards single" : "cards");
  const wanted = (card) => state.factor === null || !factors.includes(state.factor) || card.factors.includes(state.factor) || card.factors[0] === null;
  grid.append(...cards.filter(wanted).map((card) => {
    const node = cardOf(card, loaded, common);
    if (state.run && runs[node.dataset.run].ids.includes(state.run) && card.group.some((one) => state.number === undefined || one[NUMBER] === state.number || card.factors.length > 1)) node.classList.add("asked");
    return node;
  }));
  nodes.push(grid);
  return nodes;
};
// Which factor is shown; the choice stays from document to document.
const factorsBar = (factors) => {
  const bar = make("div", "factors");
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "Factor");
  bar.append(make("span", "under", "Factor"));
  for (const factor of [null, ...factors]) {
    const button = make("button", "", factor === null ? "all" : show(factor));
    button.type = "button";
    button.setAttribute("aria-pressed", String(state.factor === factor));
    button.addEventListener("click", () => chooseFactor(factor));
    bar.append(button);
  }
  return bar;
};
const promptOf = (text, several) => {
  const box = make("div", "asked-for"), long = text.length > 900;
  const body = passage(text, long ? "prompt long" : "prompt");
  box.append(make("h4", "", several ? "Prompt of most runs" : "Prompt"), body);
  if (long) {
    const more = make("button", "unfold", "Show all");
    more.type = "button";
    more.addEventListener("click", () => { more.textContent = body.classList.toggle("long") ? "Show all" : "Show less"; });
    box.append(more);
  }
  return box;
};
