"use strict";
// The matrix: a line per model and method, a column per task. ``board`` is what page.js lends.
const matrixOf = (board) => {
  const { by, make, draw, show, whole, interval, joined, breakable, contests, lines, alphabetical, domain, samples, phone } = board;
  const LINES = phone ? 8 : 24;
  const state = { sort: null, turned: false, open: new Set(), all: false };
  let found = [];

  const children = (place, present) => present.filter((other) => contests[other].head === place);
  const headIn = (place, present) => (present.includes(contests[place].head) ? contests[place].head : null);
  const shownIn = (present) => present.filter((place) => {
    for (let head = headIn(place, present); head !== null; head = headIn(head, present)) {
      if (!state.open.has(head)) return false;
    }
    return true;
  });

  const cellsOf = () => {
    const cells = new Map();
    for (const row of found) {
      if (!cells.has(row.line)) cells.set(row.line, new Map());
      const own = cells.get(row.line);
      if (!own.has(row.place)) own.set(row.place, row);
    }
    return cells;
  };

  // Best first in the chosen column, then in the others from the left; limited lines last.
  const ordered = (cells, columns) => {
    const chain = typeof state.sort === "number" && columns.includes(state.sort)
      ? [state.sort, ...columns.filter((place) => place !== state.sort)] : columns;
    const against = (a, b, place, sign) => {
      const x = cells.get(a).get(place)?.value ?? null, y = cells.get(b).get(place)?.value ?? null;
      if ((x === null) !== (y === null)) return x === null ? 1 : -1;
      return x === null ? 0 : (contests[place].up === false ? x - y : y - x) * sign;
    };
    const names = (a, b) => alphabetical.compare(
      `${lines[a].name} ${lines[a].how}`, `${lines[b].name} ${lines[b].how}`);
    return [...cells.keys()].sort((a, b) => {
      if (lines[a].limited !== lines[b].limited) return lines[a].limited ? 1 : -1;
      if (state.sort === "name") return names(a, b) * (state.turned ? -1 : 1) || a - b;
      for (const [i, place] of chain.entries()) {
        const order = against(a, b, place, i === 0 && state.turned ? -1 : 1);
        if (order) return order;
      }
      return names(a, b) || a - b;
    });
  };

  const sortBy = (what, turned) => {
    state.turned = turned ?? (state.sort === what ? !state.turned : false);
    state.sort = what;
    render();
  };
  const fold = (place) => {
    if (state.open.has(place)) state.open.delete(place); else state.open.add(place);
    render();
    by("matrix-head").querySelector(`[data-fold="${place}"]`)?.focus();
  };
  const foldButton = (place, parts, words) => {
    const open = state.open.has(place);
    const button = make("button", "fold", words(open, `${parts} ${parts === 1 ? "part" : "parts"}`));
    button.type = "button";
    button.dataset.fold = place;
    button.setAttribute("aria-expanded", String(open));
    button.setAttribute("aria-label", `${open ? "Fold" : "Unfold"} the parts of ${contests[place].task}`);
    button.addEventListener("click", () => fold(place));
    return button;
  };

  // A part's name without its group's, which stands before it.
  const shortOf = (place, present) => {
    const { task } = contests[place], head = headIn(place, present);
    const start = head === null ? "" : `${contests[head].task}_`;
    return start && task.startsWith(start) ? task.slice(start.length) : task;
  };
  const metricOf = (contest) => {
    const node = make("span", "metric");
    node.append(...breakable(`${contest.metric}\u00a0${contest.arrow}`));
    return node;
  };
  const counts = (place) => {
    const known = [...new Set(found.filter((row) => row.place === place && row.n !== null).map((row) => row.n))];
    return known.sort((a, b) => a - b);
  };
  const documents = (known) => {
    if (!known.length) return "";
    const most = known[known.length - 1];
    const few = known.length > 1 ? `${whole(known[0])} to ` : "";
    return `${few}${whole(most)} ${most === 1 ? "document" : "documents"}`;
  };

  const head = (place, present, repeated) => {
    const contest = contests[place];
    const node = make("th", contest.head !== null && headIn(place, present) !== null ? "part" : "");
    node.scope = "col";
    node.setAttribute("role", "columnheader");
    const active = state.sort === place;
    const down = (contest.up !== false) !== state.turned;
    node.setAttribute("aria-sort", active ? (down ? "descending" : "ascending") : "none");
    const button = make("button", "sort");
    button.type = "button";
    button.dataset.sort = place;
    const name = make("span", "task");
    name.title = contest.task;
    name.append(...breakable(shortOf(place, present)));
    const arrow = make("span", "arrow", active ? (down ? "▼" : "▲") : "");
    arrow.setAttribute("aria-hidden", "true");
    name.append(arrow);
    button.append(name, metricOf(contest));
    if (repeated.has(contest.task)) {
      // what its label says beyond task and metric, which is what tells it from its like
      const full = contest.label.slice(`${contest.task} (${contest.metric}, `.length, -1);
      const told = full.length < 90 ? full : joined([contest.where, contest.by, contest.data_sha256.slice(0, 8)]);
      const node = make("span", "metric");
      node.append(...breakable(told.replaceAll("=", "\u00a0")));
      button.append(node);
    }
    button.append(make("span", "metric", documents(counts(place))));
    button.addEventListener("click", () => {
      sortBy(place);
      by("matrix-head").querySelector(`[data-sort="${place}"]`).focus();
    });
    node.append(button);
    const parts = children(place, present).length;
    if (parts) node.append(foldButton(place, parts, (open, text) => `${open ? "−" : "+"} ${text}`));
    return node;
  };

  const whisker = (row, ends) => {
    const at = (value) => `${((value - ends.low) / (ends.high - ends.low) * 100).toFixed(2)}%`;
    const svg = draw("svg", { "aria-hidden": "true", class: "mark" });
    svg.append(draw("line", { class: "grid", x1: "0%", x2: "100%", y1: "50%", y2: "50%" }));
    if (row.low !== null) svg.append(draw("line", { class: "whisker", x1: at(row.low), x2: at(row.high), y1: "50%", y2: "50%" }));
    svg.append(draw("circle", { class: "dot", cx: at(row.value), cy: "50%", r: 3.5 }));
    return svg;
  };
  const cell = (row, place, own, present, { ends, several, rivals }) => {
    const node = make("td", "number");
    node.setAttribute("role", "cell");
    const label = make("span", "on-phone label");
    label.append(...breakable(contests[place].task), " ", metricOf(contests[place]));
    node.append(label);
    if (headIn(place, present) !== null) node.classList.add("part");
    if (!row) {
      node.classList.add("blank");
      const parts = children(place, present);
      const done = parts.filter((part) => own.has(part)).length;
      node.append(make("span", "under", done ? `${done} of ${parts.length} parts` : "–"));
      node.classList.toggle("bare", !done);
      return node;
    }
    const best = row.rank === 1 && rivals > 1;
    node.classList.toggle("best", best);
    const value = make(board.view ? "a" : "span", "value", row.predicted ? "predicted" : show(row.value));
    if (board.view) {
      value.href = samples(row);
      value.title = "Read its samples";
    }
    node.append(value);
    if (best) node.append(make("span", "unseen", ", best within noise"));
    if (row.value !== null) node.append(whisker(row, ends));
    node.append(make("span", "under", interval(row)));
    if (several && row.n !== null) node.append(make("span", "under n", `n\u00a0${whole(row.n)}`));
    if (row.unscored) node.append(make("span", "under", `${whole(row.unscored)} unscored`));
    return node;
  };

  const render = () => {
    const cells = cellsOf();
    const present = [...new Set(found.map((row) => row.place))].sort((a, b) => a - b);
    const columns = shownIn(present);
    if (typeof state.sort === "number" && !columns.includes(state.sort)) state.sort = null;
    if (state.sort === null && columns.length) { [state.sort] = columns; state.turned = false; }
    const names = columns.map((place) => contests[place].task);
    const repeated = new Set(names.filter((name, i) => names.indexOf(name) !== i));
    const corner = make("th", "who");
    corner.scope = "col";
    corner.setAttribute("role", "columnheader");
    const button = make("button", "sort", "Model and method");
    button.type = "button";
    button.dataset.sort = "name";
    button.addEventListener("click", () => {
      sortBy("name");
      by("matrix-head").querySelector('[data-sort="name"]').focus();
    });
    corner.append(button);
    corner.setAttribute("aria-sort", state.sort === "name" ? (state.turned ? "descending" : "ascending") : "none");
    by("matrix-head").replaceChildren(corner, ...columns.map((place) => head(place, present, repeated)));

    const order = ordered(cells, columns);
    const limit = state.all ? order.length : LINES;
    const about = new Map(columns.map((place) => {
      const own = found.filter((row) => row.place === place && row.value !== null);
      const rivals = own.filter((row) => row.rank !== null).length;
      return [place, { ends: domain(contests[place], own), several: counts(place).length > 1, rivals }];
    }));
    by("matrix-body").replaceChildren(...order.slice(0, limit).map((number) => {
      const line = lines[number];
      const node = make("tr", joined([line.method ? "method" : "", line.limited ? "limited" : ""]).replace(" · ", " "));
      node.setAttribute("role", "row");
      const who = make("th", "who");
      who.scope = "row";
      who.setAttribute("role", "rowheader");
      who.append(make("span", "lead", line.name), make("span", "under", line.how));
      if (line.limited) who.append(make("span", "badge", "part of the data"));
      const own = cells.get(number);
      node.append(who, ...columns.map((place) => cell(own.get(place), place, own, present, about.get(place))));
      return node;
    }));
    const rest = order.length - limit;
    by("matrix-more").hidden = rest <= 0 && !state.all || order.length <= LINES;
    by("matrix-more").textContent = rest > 0 ? `Show all ${whole(order.length)} lines` : `First ${LINES} only`;
    by("matrix-empty").hidden = order.length > 0;
    by("matrix-scroller").hidden = order.length === 0;
    by("matrix-folds").replaceChildren(...present.filter((place) => columns.includes(place) && children(place, present).length)
      .map((place) => foldButton(place, children(place, present).length, (open, text) =>
        `${open ? "−" : "+"} ${contests[place].task}: ${text}`)));
    const choices = [["name", "Model and method"], ...columns.map((place) => [String(place), contests[place].label])];
    by("matrix-order").replaceChildren(...choices.map(([value, text]) => Object.assign(make("option", "", text), { value })));
    by("matrix-order").value = String(state.sort);
  };

  by("matrix-more").addEventListener("click", () => { state.all = !state.all; render(); });
  by("matrix-order").addEventListener("change", (event) => {
    const { value } = event.target;
    sortBy(value === "name" ? value : Number(value), false);
  });
  return (rows) => { found = rows; render(); };
};
