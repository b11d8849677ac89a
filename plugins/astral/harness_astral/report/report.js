"use strict";
(() => {
  const PER_PAGE = 100;
  const by = (id) => document.getElementById(id);
  const data = JSON.parse(by("data").textContent);
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const whole = (value) => value.toLocaleString("en");
  const spaced = (level) => level.replaceAll("_", " ").split(",").map((part) => part.trim()).join(", ");
  const [CATEGORIES, STYLES, PERSUASIONS] = data.levels.map((names) => names.map(spaced));

  const rows = data.rows.map((values, place) => {
    const [run, id, twin, category, style, persuasion, outcome, refused, prompt, response, verdicts, ...texts] = values;
    return {
      place, id, prompt, response, verdicts, texts,
      runs: run, outcomes: outcome, categories: category, kinds: twin,
      run: data.runs[run], kind: twin ? "benign" : "probe", outcome: data.outcomes[outcome],
      category: CATEGORIES[category], style: STYLES[style], persuasion: PERSUASIONS[persuasion],
      refused: refused === null ? "" : refused ? "yes" : "no",
    };
  });
  for (const row of rows) row.words = [row.id, row.category, row.style, row.persuasion, ...row.texts.slice(0, 2)].join(" ").toLowerCase();

  const COLUMNS = [
    ["run", "model"], ["id", "input"], ["kind", "kind"], ["category", "category"], ["style", "style"],
    ["persuasion", "persuasion"], ["outcome", "outcome"], ["refused", "declined"],
    ["prompt", "prompt"], ["response", "output"],
  ].filter(([name]) => name !== "run" || data.runs.length > 1).filter(([name]) => name !== "kind" || rows.some((row) => row.kinds));
  const NUMBERS = new Set(["prompt", "response"]);
  const order = { column: "", down: false };
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const compare = (a, b) => {
    const name = order.column;
    if (!name) return a.place - b.place;
    const found = name === "outcome" ? a.outcomes - b.outcomes : NUMBERS.has(name) ? a[name] - b[name] : collator.compare(a[name], b[name]);
    return (order.down ? -found : found) || a.place - b.place;
  };

  const heads = new Map(COLUMNS.map(([name, title]) => {
    const head = make("th", NUMBERS.has(name) ? "number" : ""), button = make("button", "", title), arrow = make("span", "arrow");
    head.dataset.column = name;
    head.scope = "col";
    if (NUMBERS.has(name)) button.title = "characters";
    button.type = "button";
    arrow.setAttribute("aria-hidden", "true");
    button.append(arrow);
    head.append(button);
    button.addEventListener("click", () => {
      if (order.column !== name) Object.assign(order, { column: name, down: NUMBERS.has(name) });
      else if (order.down === NUMBERS.has(name)) order.down = !order.down;
      else Object.assign(order, { column: "", down: false });
      page = 0;
      render();
    });
    return [name, { head, arrow }];
  }));
  by("heads").append(...[...heads.values()].map(({ head }) => head));

  const detail = (row) => {
    const box = make("div", "texts"), [prompt, response, reasons] = row.texts;
    const parts = [["Prompt", prompt], ["Output", response], ...reasons.map(([name, reason]) => [name, reason])];
    for (const [title, text] of parts) {
      const part = make("div");
      part.append(make("h4", "", title), make("p", "", text || "(none)"));
      box.append(part);
    }
    const line = make("tr", "shown"), cell = make("td");
    cell.colSpan = COLUMNS.length;
    cell.append(box);
    line.append(cell);
    return line;
  };
  const line = (row) => {
    const node = make("tr", "entry");
    for (const [name] of COLUMNS) {
      const cell = make("td", name === "outcome" ? (row.outcome === "unsafe" ? "outcome unsafe" : "outcome") : NUMBERS.has(name) ? "number" : name);
      if (name === "id" && data.texts) {
        const open = make("button", "open", row.id.slice(0, 12));
        open.type = "button";
        open.setAttribute("aria-expanded", "false");
        let shown = null;
        open.addEventListener("click", () => {
          if (shown) { shown.remove(); shown = null; } else { shown = detail(row); node.after(shown); }
          open.setAttribute("aria-expanded", String(Boolean(shown)));
        });
        cell.append(open);
      } else {
        cell.textContent = NUMBERS.has(name) ? whole(row[name]) : name === "id" ? row.id.slice(0, 12) : row[name];
      }
      if (name === "id") cell.title = row.id;
      if (name === "outcome") cell.title = row.verdicts.map(([judge, label]) => `${judge}: ${label ?? "no verdict"}`).join("\n");
      node.append(cell);
    }
    return node;
  };

  const FILTERS = { model: ["runs", data.runs], category: ["categories", CATEGORIES], outcome: ["outcomes", data.outcomes], kind: ["kinds", ["probe", "benign"]] };
  for (const [id, [key, names]] of Object.entries(FILTERS)) {
    const met = new Set(rows.map((row) => row[key]));
    names.forEach((name, place) => {
      if (met.has(place)) by(id).append(Object.assign(make("option", "", name), { value: String(place) }));
    });
    by(id).closest("label").hidden = met.size < 2;
  }
  let page = 0, found = rows;
  const list = () => {
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE)), start = page * PER_PAGE;
    const slice = found.slice(start, start + PER_PAGE);
    by("rows").replaceChildren(...slice.map(line));
    by("count").textContent = pages > 1
      ? `${whole(start + 1)}–${whole(start + slice.length)} of ${whole(found.length)}`
      : `${whole(found.length)} ${found.length === 1 ? "answer" : "answers"}`;
    by("empty").hidden = slice.length > 0;
    by("pager").hidden = pages === 1;
    by("page").textContent = `Page ${whole(page + 1)} of ${whole(pages)}`;
    by("previous").disabled = page === 0;
    by("next").disabled = page === pages - 1;
  };
  const render = () => {
    const words = by("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = Object.entries(FILTERS).map(([id, [key]]) => [key, by(id).value]).filter(([, value]) => value !== "");
    found = rows.filter((row) => wanted.every(([key, value]) => row[key] === Number(value)) && words.every((word) => row.words.includes(word)));
    found.sort(compare);
    for (const [name, { head, arrow }] of heads) {
      const own = order.column === name;
      arrow.textContent = own ? (order.down ? "▼" : "▲") : "";
      if (own) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    by("reset").hidden = !words.length && !wanted.length;
    list();
  };
  const changed = () => { page = 0; render(); };
  let typing;
  const soon = (event) => { clearTimeout(typing); typing = setTimeout(changed, event.type === "input" ? 120 : 0); };
  by("filters").addEventListener("input", soon);
  by("filters").addEventListener("change", soon);
  by("filters").addEventListener("submit", (event) => event.preventDefault());
  by("filters").addEventListener("reset", () => setTimeout(changed, 0));
  const turn = (step) => { page += step; list(); by("inputs").scrollIntoView(); by("inputs").focus(); };
  by("previous").addEventListener("click", () => turn(-1));
  by("next").addEventListener("click", () => turn(1));
  render();
})();
