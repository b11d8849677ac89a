"use strict";
(() => {
  const by = (id) => document.getElementById(id);
  const data = JSON.parse(by("data").textContent);
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const draw = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const button = (className, pressed) => {
    const node = make("button", className);
    node.type = "button";
    node.addEventListener("click", pressed);
    return node;
  };

  // What there is, by run and column.
  const { columns, runs, cells } = data;
  const baseline = runs.findIndex((run) => run.baseline);
  const held = runs.map(() => new Map()), absent = runs.map(() => new Map());
  for (const entry of data.entries) held[entry.run].set(entry.column, entry);
  for (const [run, column, cell, state] of data.absent) absent[run].set(column, { cell, state });
  const parts = columns.map((_, place) => columns.filter((column) => column.head === place).length);
  const state = { sort: null, down: false, unfolded: new Set(), open: null };
  const shown = () => columns.map((column, place) => ({ ...column, place }))
    .filter((column) => column.head === null || state.unfolded.has(column.head));

  // Order.
  const alphabetical = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const valueOf = (run, place) => held[run].get(place)?.value ?? null;
  const ordered = () => {
    const places = runs.map((_, place) => place);
    if (state.sort === null) return places;
    const sign = state.down ? -1 : 1;
    return places.sort((a, b) => {
      if (state.sort === "run") return sign * alphabetical.compare(runs[a].name, runs[b].name) || a - b;
      const x = valueOf(a, state.sort), y = valueOf(b, state.sort);
      if ((x === null) !== (y === null)) return x === null ? 1 : -1;
      return x === null ? a - b : sign * (x - y) || a - b;
    });
  };
  const sortBy = (what, down) => {
    state.down = state.sort === what ? !state.down : down;
    state.sort = what;
    renderBody();
    mark();
  };
  const mark = () => {
    for (const head of by("head").children) {
      const active = head.dataset.column === String(state.sort);
      head.setAttribute("aria-sort", active ? (state.down ? "descending" : "ascending") : "none");
      head.querySelector(".arrow").textContent = active ? (state.down ? "▼" : "▲") : "";
    }
  };

  // The head: a column sorts, a group unfolds.
  const headOf = (id, label, metric, down, className) => {
    const node = make("th", className);
    node.scope = "col";
    node.dataset.column = id;
    const sort = button("sort", () => sortBy(id, down));
    const words = make("span", "words");
    words.append(make("span", "label", label), make("span", "metric", metric));
    const arrow = make("span", "arrow");
    arrow.setAttribute("aria-hidden", "true");
    sort.append(words, arrow);
    node.append(sort);
    return node;
  };
  const renderHead = () => {
    const nodes = [headOf("run", "Run", "", false, "who")];
    for (const column of shown()) {
      const node = headOf(column.place, column.label, column.metric, column.up !== false,
        column.head === null ? "number" : "number part");
      node.querySelector(".sort").title = [column.label, column.metric, column.about, column.judge && `judged by ${column.judge}`]
        .filter(Boolean).join("\n");
      if (parts[column.place]) {
        const open = state.unfolded.has(column.place);
        const fold = button("fold", () => {
          if (open) state.unfolded.delete(column.place); else state.unfolded.add(column.place);
          if (state.open && columns[state.open[1]].head === column.place) state.open = null;
          if (columns[state.sort]?.head === column.place) state.sort = null;
          render();
          by("head").querySelector(`[data-column="${column.place}"] .fold`).focus();
        });
        fold.textContent = open ? "fold" : `its ${parts[column.place]} parts`;
        fold.setAttribute("aria-expanded", String(open));
        node.append(fold);
      }
      nodes.push(node);
    }
    by("head").replaceChildren(...nodes);
  };

  // A cell: value, difference, and the interval on the column's scale.
  const strip = (entry, column) => {
    const svg = draw("svg", { class: "strip", "aria-hidden": "true" });
    const width = column.high - column.low;
    const at = (value) => `${(width > 0 ? 3 + 94 * (value - column.low) / width : 50).toFixed(2)}%`;
    svg.append(draw("line", { class: "track", x1: "0%", x2: "100%", y1: "50%", y2: "50%" }));
    const base = baseline < 0 ? null : valueOf(baseline, entry.column);
    if (base !== null) svg.append(draw("line", { class: "base-tick", x1: at(base), x2: at(base), y1: "0%", y2: "100%" }));
    if (entry.low !== null && entry.high !== null) {
      svg.append(draw("line", { class: "whisker", x1: at(entry.low), x2: at(entry.high), y1: "50%", y2: "50%" }));
    }
    svg.append(draw("circle", { class: "dot", cx: at(entry.value), cy: "50%", r: 3.5 }));
    return svg;
  };
  const opener = (run, place, label) => {
    const node = button("", () => {
      state.open = state.open && state.open[0] === run && state.open[1] === place ? null : [run, place];
      renderBody();
      by("body").querySelector(`[data-at="${run}-${place}"]`).focus();
    });
    node.dataset.at = `${run}-${place}`;
    node.setAttribute("aria-expanded", String(Boolean(state.open && state.open[0] === run && state.open[1] === place)));
    node.setAttribute("aria-label", label);
    return node;
  };
  const CHANGE = (difference) => (difference.sure && difference.good !== null ? (difference.good ? "good" : "bad") : "");
  const cellOf = (run, column) => {
    const node = make("td", column.head === null ? "cell number" : "cell number part");
    const entry = held[run].get(column.place);
    if (!entry) {
      const lack = absent[run].get(column.place);
      if (!lack) { node.append(make("span", "absent", "—")); return node; }
      const open = opener(run, column.place, `${runs[run].name}, ${column.label}: ${lack.state}`);
      open.append(make("span", `absent ${lack.state}`, lack.state));
      node.append(open);
      return node;
    }
    node.classList.toggle("best", entry.best);
    const change = entry.difference ? `${entry.difference.text}${entry.difference.sure ? "*" : ""}` : "";
    const open = opener(run, column.place, [`${runs[run].name}, ${column.label}: ${entry.text}`, change].filter(Boolean).join(", "));
    const line = make("span", "line");
    if (entry.difference) line.append(make("span", `change ${CHANGE(entry.difference)}`, change));
    line.append(make("span", "value", entry.text));
    open.append(line);
    if (entry.value !== null) open.append(strip(entry, column));
    if (entry.limited) open.append(make("span", "limited", entry.limited));
    node.append(open);
    return node;
  };

  // Details of a cell.
  const details = (run, place, width) => {
    const entry = held[run].get(place), lack = absent[run].get(place);
    const cell = cells[(entry || lack).cell];
    const sheet = make("div", "sheet"), list = make("dl");
    const fact = (name, value, under) => {
      if (value === null || value === undefined || value === "") return;
      const pair = make("div"), said = make("dd", "", value);
      if (under) said.append(make("span", "under", under));
      pair.append(make("dt", "", name), said);
      list.append(pair);
    };
    sheet.append(make("h3", "", `${runs[run].name} on ${columns[place].label}`));
    if (entry) {
      for (const [name, value, interval] of entry.metrics) fact(name, value, interval);
      if (entry.difference) {
        fact(`Over ${runs[baseline]?.name ?? "the baseline"}`, entry.difference.text, entry.difference.span);
        fact("p, corrected", entry.difference.p, `${entry.difference.documents} documents in both`);
      }
      fact("Documents", entry.n);
      fact("Unscored", entry.unscored);
      fact("Data", columns[place].about);
      fact("Judge", columns[place].judge);
    }
    const [seconds, tokens, calls] = cell.costs;
    if (entry) { fact("Seconds", seconds); fact("Tokens", tokens); fact("Judge calls", calls); }
    fact("Cell", cell.name);
    sheet.append(list);
    if (entry && entry.samples) {
      const link = make("a", "", "Read the samples"), line = make("p", "samples");
      link.href = entry.samples;
      line.append(link);
      sheet.append(line);
    }
    if (cell.failure) sheet.append(make("p", "failure", cell.failure[0]), make("p", "about", cell.failure[1]));
    if (cell.command) sheet.append(make("pre", "", cell.command));
    const holder = make("td");
    holder.colSpan = width;
    holder.append(sheet);
    const node = make("tr", "details");
    node.append(holder);
    return node;
  };

  const renderBody = () => {
    const visible = shown();
    by("body").replaceChildren(...ordered().flatMap((run) => {
      const node = make("tr", "run"), who = make("th", "who");
      who.scope = "row";
      who.append(make("span", "name", runs[run].name),
        make("span", "under", [runs[run].baseline ? "baseline" : "", runs[run].about].filter(Boolean).join(" · ")));
      node.append(who, ...visible.map((column) => cellOf(run, column)));
      const open = state.open && state.open[0] === run;
      return open ? [node, details(run, state.open[1], visible.length + 1)] : [node];
    }));
  };
  const render = () => { renderHead(); renderBody(); mark(); };
  render();
})();
