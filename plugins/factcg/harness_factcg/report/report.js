"use strict";
(() => {
  const PER_PAGE = 50, SHORT = 2000, AROUND = 280;
  const FAIR = 1, STRONG = 4; // nats
  const by = (id) => document.getElementById(id);
  const data = JSON.parse(by("data").textContent);
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const whole = (value) => value.toLocaleString("en");
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  const verdict = (yes) => (yes ? "Supported" : "Not supported");

  const FIELDS = ["place", "text", "id", "dataset", "label", "score", "margin", "supported", "truncated", "chunks", "chunk", "parts", "sentences"];
  const EXPLAINED = by("list").dataset.explained === "true", THRESHOLD = Number(by("list").dataset.threshold);
  const claims = data.claims.map((values, row) => {
    const claim = Object.fromEntries(FIELDS.map((name, i) => [name, values[i]]));
    claim.row = row;
    claim.words = `${claim.text} ${claim.id}`.toLowerCase();
    claim.answer = claim.label === null ? "none" : claim.label === claim.supported ? "right" : "wrong";
    claim.parts = claim.parts.map(([start, end, supported, sufficient, marks]) => ({
      start, end, supported, sufficient,
      marks: marks.map(([from, to, drop, named]) => ({ from, to, drop, named })),
    }));
    return claim;
  });
  const documents = data.documents.map(([length, stretches]) => ({ length, stretches }));
  const read = (place, start, end) => {
    for (const [from, text] of documents[place].stretches) {
      if (start >= from && end <= from + text.length) return text.slice(start - from, end - from);
    }
    return "";
  };

  // A document: its marked sentences, what stands around them, and the rest behind buttons.
  const tone = ({ drop, named }) => {
    const side = drop === null || drop >= 0 ? "for" : "against";
    const size = drop === null ? STRONG : Math.abs(drop);
    return `${side} s${size >= STRONG ? 3 : size >= FAIR ? 2 : 1}${named ? " named" : ""}`;
  };
  const written = (claim, start, end, marks) => {
    const inside = (at) => claim.parts.some((part) => at >= part.start && at < part.end);
    const cuts = new Set([start, end]);
    for (const { from, to } of [...marks, ...claim.parts.map((part) => ({ from: part.start, to: part.end }))]) {
      for (const at of [from, to]) if (at > start && at < end) cuts.add(at);
    }
    const places = [...cuts].sort((a, b) => a - b);
    return places.slice(0, -1).map((from, i) => {
      const text = read(claim.place, from, places[i + 1]);
      const own = marks.filter((mark) => mark.from <= from && mark.to > from);
      if (!own.length) return inside(from) ? document.createTextNode(text) : make("span", "outside", text);
      const mark = own.reduce((a, b) => (Math.abs(b.drop) > Math.abs(a.drop) ? b : a));
      const node = make("mark", tone(mark), text);
      if (mark.drop !== null) node.title = `${signed(mark.drop)} nats`;
      return node;
    });
  };
  const shown = (claim, marks) => {
    const { length, stretches } = documents[claim.place];
    if (length <= SHORT) return [[0, length]];
    const centres = marks.length ? marks : claim.parts.map((part) => ({ from: part.start, to: Math.min(part.end, part.start + AROUND) }));
    const spans = centres.map(({ from, to }) => [Math.max(0, from - AROUND), Math.min(length, to + AROUND)]);
    const merged = [];
    for (const [from, to] of spans.sort((a, b) => a[0] - b[0])) {
      const last = merged[merged.length - 1];
      if (last && from <= last[1] + AROUND) last[1] = Math.max(last[1], to); else merged.push([from, to]);
    }
    // No word is cut: a span begins and ends at white space.
    return merged.map(([from, to]) => {
      const stretch = stretches.find(([at, text]) => from < at + text.length && to > at);
      if (!stretch) return [from, to];
      const [at, text] = stretch;
      let a = Math.max(from, at) - at, b = Math.min(to, at + text.length) - at;
      while (a > 0 && /\S/.test(text[a - 1])) a -= 1;
      while (b < text.length && /\S/.test(text[b])) b += 1;
      return [a + at, b + at];
    });
  };
  const documentOf = (claim) => {
    const box = make("div", "document");
    const marks = claim.parts.flatMap((part) => part.marks);
    const { length, stretches } = documents[claim.place];
    const spans = shown(claim, marks);
    const add = (start, end, visible) => {
      for (const [at, text] of stretches) {
        const from = Math.max(start, at), to = Math.min(end, at + text.length);
        if (from >= to) continue;
        if (visible) { box.append(...written(claim, from, to, marks)); continue; }
        const button = make("button", "gap", `… ${whole(to - from)} characters …`);
        button.type = "button";
        button.addEventListener("click", () => button.replaceWith(...written(claim, from, to, marks)));
        box.append(button);
      }
    };
    let last = 0;
    for (const [from, to] of spans) {
      add(last, from, false);
      add(Math.max(from, last), to, true);
      last = Math.max(to, last);
    }
    add(last, length, false);
    return box;
  };

  // A claim.
  const reasonsOf = (claim) => {
    const list = make("ul", "reasons");
    const seen = new Set();
    for (const mark of claim.parts.flatMap((part) => part.marks.filter(({ named }) => named))) {
      if (seen.has(mark.from)) continue;
      seen.add(mark.from);
      const item = make("li", mark.drop !== null && mark.drop < 0 ? "against" : "for");
      item.append(make("span", "drop", mark.drop === null ? "" : signed(mark.drop)), make("q", "", read(claim.place, mark.from, mark.to)));
      list.append(item);
    }
    return list;
  };
  const note = (claim) => {
    const named = claim.parts.some((part) => part.marks.some((mark) => mark.named));
    if (!named) return claim.supported ? "" : "No sentence speaks against it; none supports all of it.";
    if (!claim.supported) return "";
    return claim.parts.every((part) => part.sufficient) ? "" : "These sentences count most, but do not suffice alone.";
  };
  const item = (claim) => {
    const node = make("li", "claim");
    node.value = claim.row + 1;
    const line = make("p", "verdict");
    line.append(make("b", claim.supported ? "yes" : "no", verdict(claim.supported)), make("span", "score", claim.score.toFixed(3)));
    line.querySelector(".score").title = `log-odds ${signed(claim.margin)} nats`;
    if (claim.label !== null) {
      line.append(make("span", claim.answer, `${claim.answer}: labelled ${claim.label ? "supported" : "not supported"}`));
    }
    if (claim.dataset) line.append(make("span", "", claim.dataset));
    if (claim.id) line.append(make("span", "", `id ${claim.id}`));
    if (claim.chunks > 1) line.append(make("span", "", `chunk ${claim.chunk + 1} of ${claim.chunks}`));
    if (claim.truncated) line.append(make("span", "", "truncated"));
    node.append(line, make("p", "statement", claim.text));
    if (claim.sentences.length) {
      const list = make("ol", "sentences");
      for (const [text, score, supported] of claim.sentences) {
        const row = make("li");
        const number = make("span", `score ${supported ? "yes" : "no"}`, score.toFixed(3));
        number.title = verdict(supported);
        row.append(number, make("span", "", text));
        list.append(row);
      }
      node.append(list);
    }
    const reasons = reasonsOf(claim);
    if (reasons.children.length) node.append(reasons);
    if (EXPLAINED && note(claim)) node.append(make("p", "note", note(claim)));
    const open = make("button", "open");
    open.type = "button";
    let box = null;
    const turn = (on) => {
      open.setAttribute("aria-expanded", String(on));
      open.textContent = on ? "Hide the document" : `Show the document (${whole(documents[claim.place].length)} characters)`;
      if (box) box.remove();
      box = on ? documentOf(claim) : null;
      if (box) node.append(box);
    };
    open.addEventListener("click", () => turn(!box));
    node.append(open);
    turn(claims.length === 1);
    return node;
  };

  // Filters, order, pages; the filters are in the address, so that a view can be shared.
  const alphabetical = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const datasets = [...new Set(claims.map((claim) => claim.dataset))].sort(alphabetical.compare);
  by("dataset").append(...datasets.map((name) => Object.assign(make("option", "", name || "without"), { value: `=${name}` })));
  by("dataset").closest("label").hidden = datasets.length < 2;
  by("label").closest("label").hidden = claims.every((claim) => claim.label === null);
  const CONTROLS = ["text", "verdict", "label", "dataset", "order"];
  const blank = { text: "", verdict: "", label: "", dataset: "", order: "row" };
  const ORDERS = {
    row: (a, b) => a.row - b.row,
    low: (a, b) => a.margin - b.margin,
    high: (a, b) => b.margin - a.margin,
    unsure: (a, b) => Math.abs(a.score - THRESHOLD) - Math.abs(b.score - THRESHOLD),
  };
  let page = 0, found = [];
  const settings = () => Object.fromEntries(CONTROLS.map((id) => [id, by(id).value]));
  const list = () => {
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    const start = page * PER_PAGE, slice = found.slice(start, start + PER_PAGE);
    by("list").replaceChildren(...slice.map(item));
    if (!slice.length) by("list").append(make("li", "empty", "Nothing matches. Clear a filter to see more."));
    by("count").textContent = pages > 1
      ? `${whole(start + 1)}–${whole(start + slice.length)} of ${whole(found.length)}`
      : `${whole(found.length)} ${found.length === 1 ? "claim" : "claims"}`;
    by("pager").hidden = pages === 1;
    by("page").textContent = `Page ${whole(page + 1)} of ${whole(pages)}`;
    by("previous").disabled = page === 0;
    by("next").disabled = page === pages - 1;
  };
  const render = () => {
    const want = settings();
    const words = want.text.toLowerCase().split(/\s+/).filter(Boolean);
    found = claims.filter((claim) =>
      (want.verdict === "" || Number(want.verdict) === claim.supported) &&
      (want.label === "" || want.label === claim.answer) &&
      (want.dataset === "" || want.dataset === `=${claim.dataset}`) &&
      words.every((word) => claim.words.includes(word)));
    found.sort((a, b) => ORDERS[want.order](a, b) || a.row - b.row);
    list();
    const changed = CONTROLS.filter((id) => want[id] !== blank[id]);
    by("reset").hidden = !changed.length;
    const address = new URLSearchParams(changed.map((id) => [id, want[id]])).toString();
    history.replaceState(null, "", address ? `#${address}` : location.href.split("#")[0]);
  };
  for (const [id, value] of new URLSearchParams(location.hash.slice(1))) {
    if (!CONTROLS.includes(id)) continue;
    if (id === "text" || [...by(id).options].some((choice) => choice.value === value)) by(id).value = value;
  }
  const changed = () => { page = 0; render(); };
  let typing;
  const soon = (event) => {
    clearTimeout(typing);
    typing = setTimeout(changed, event.type === "input" ? 120 : 0);
  };
  by("filters").addEventListener("input", soon);
  by("filters").addEventListener("change", soon);
  by("filters").addEventListener("submit", (event) => event.preventDefault());
  by("filters").addEventListener("reset", () => setTimeout(changed, 0));
  const turn = (step) => { page += step; list(); by("claims").scrollIntoView(); by("claims").focus(); };
  by("previous").addEventListener("click", () => turn(-1));
  by("next").addEventListener("click", () => turn(1));
  render();
})();
