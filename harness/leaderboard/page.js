"use strict";
(() => {
  const phone = matchMedia("(max-width: 46rem)").matches;
  const PER_PAGE = phone ? 20 : 50, MOST = 200, MORE = 12, CHARTS = phone ? 2 : 6, BARS = phone ? 5 : 8;
  const LIMITED = 1, CURRENT = 2, HEADLINE = 4, PREDICTED = 8;
  const by = (id) => document.getElementById(id);
  const data = JSON.parse(by("data").textContent);
  const named = (fields, values) => Object.fromEntries(fields.map((name, i) => [name, values[i]]));

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
  const settings = (json) => {
    if (!json) return "";
    let value;
    try { value = JSON.parse(json); } catch { return json; }
    if (value === null || typeof value !== "object") return json;
    return Object.entries(value).map(([key, inner]) =>
      `${key}\u00a0${inner !== null && typeof inner === "object" ? JSON.stringify(inner) : inner}`
    ).join(", ");
  };
  const judgeName = (json) => {
    if (!json) return "";
    try {
      const judge = JSON.parse(json);
      const of = judge.model_args || {};
      return [judge.model, of.model || of.pretrained].filter(Boolean).join(" ") || json;
    } catch { return json; }
  };
  const breakable = (text) => text.split(/(?<=_)/).flatMap((part, i) =>
    (i ? [document.createElement("wbr"), part] : [part]));
  const show = (value) => {
    if (value === null) return "—";
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size < 0.001 || size >= 1e7) return value.toExponential(2);
    if (size < 10) return value.toFixed(3);
    if (size < 100) return value.toFixed(2);
    if (size < 1000) return value.toFixed(1);
    return Math.round(value).toLocaleString("en");
  };
  const whole = (value) => (value === null ? "—" : value.toLocaleString("en"));
  const percent = (share) => (share === null ? "—" : `${share[0].toFixed(1)}\u00a0%`);
  const percentInterval = (share) => (share === null || share[1] === null ? "" : `${share[1].toFixed(0)} to ${share[2].toFixed(0)}\u00a0%`);
  const interval = (row) => (row.low === null ? "" : `${show(row.low)} to ${show(row.high)}`);
  const joined = (parts) => parts.filter(Boolean).join(" · ");

  // What the results say, once.
  const runs = data.runs.map((values) => {
    const run = named(data.runFields, values);
    run.short = run.name.split("/").filter(Boolean).pop() || run.name;
    run.shown = run.name.startsWith("/") ? run.short : run.name;
    run.words = values.join(" ").toLowerCase();
    return run;
  });
  const contests = data.contests.map((contest) => {
    contest.words = Object.values(contest).join(" ").toLowerCase();
    contest.arrow = contest.up === null ? "" : contest.up ? "↑" : "↓";
    contest.by = judgeName(contest.judge);
    contest.judge = settings(contest.judge);
    contest.where = joined([
      contest.data_source, contest.split,
      contest.n_shot === null ? "" : `${contest.n_shot}-shot`,
      contest.filter !== "none" && contest.filter,
    ]);
    return contest;
  });
  const rows = data.rows.map((values, order) => {
    const row = named(data.rowFields, values);
    row.order = order;
    row.run = runs[row.run];
    row.place = row.contest;
    row.contest = contests[row.contest];
    row.limited = Boolean(row.flags & LIMITED);
    row.current = Boolean(row.flags & CURRENT);
    row.headline = Boolean(row.flags & HEADLINE);
    row.predicted = Boolean(row.flags & PREDICTED);
    return row;
  });
  const limitText = (row) => (row.run.limit === null ? "part of the data" : `limit ${row.run.limit}`);

  // Controls.
  const alphabetical = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const distinct = (values) => [...new Set(values)].sort(alphabetical.compare);
  const option = (value, text) => Object.assign(make("option", "", text), { value });
  const fill = (id, first, values) => by(id).append(...first, ...values.map((v) => option(`=${v}`, v)));
  const group = (label, names) => {
    if (!names.length) return [];
    const node = Object.assign(make("optgroup"), { label });
    node.append(...names.map((name) => option(`=${name}`, name)));
    return [node];
  };
  const tasksWhere = (keep) => distinct(contests.filter(keep).map((contest) => contest.task));
  fill("task", [
    option("", "All tasks"), ...group("Groups", tasksWhere((c) => c.group)),
    ...group("Tasks", tasksWhere((c) => !c.group)),
  ], []);
  fill("model", [option("", "All models")], distinct(runs.map((run) => run.name)));
  fill("metric", [option("", "Headline metrics"), option("*", "All metrics")],
    distinct(contests.map((contest) => contest.metric)));
  by("limited").closest("label").hidden = !rows.some((row) => row.limited);
  by("older").closest("label").hidden = rows.every((row) => row.current);

  const CONTROLS = ["text", "task", "model", "metric", "limited", "older"];
  const blank = { text: "", task: "", model: "", metric: "", limited: true, older: false };
  const state = { sort: "rank", down: false, page: 0, charts: CHARTS, open: new Set(), whole: new Set() };
  const read = () => Object.fromEntries(CONTROLS.map((id) => {
    const control = by(id);
    return [id, control.type === "checkbox" ? control.checked : control.value];
  }));
  const chosen = (wanted, value) => wanted === "" || wanted === `=${value}`;

  const matching = () => {
    const want = read();
    const words = want.text.toLowerCase().split(/\s+/).filter(Boolean);
    return rows.filter((row) =>
      (want.older || row.current) && (want.limited || !row.limited) &&
      chosen(want.task, row.contest.task) && chosen(want.model, row.run.name) &&
      (want.metric === "" ? row.headline : want.metric === "*" || chosen(want.metric, row.contest.metric)) &&
      words.every((word) => row.run.words.includes(word) || row.contest.words.includes(word)));
  };

  // The table.
  const COLUMNS = [
    { id: "rank", name: "Rank", key: (row) => row.order, className: "rank" },
    { id: "model", name: "Model", key: (row) => `${row.run.name} ${row.run.how}` },
    { id: "task", name: "Task", key: (row) => row.contest.label },
    { id: "metric", name: "Metric", key: (row) => row.contest.metric },
    { id: "score", name: "Score", key: (row) => row.value, className: "number", down: true },
    ...data.shares.map((id) => ({
      id, name: id[0].toUpperCase() + id.slice(1), className: "number share", down: true,
      key: (row) => (row[id] === null ? null : row[id][0]),
    })),
    { id: "count", name: "Documents", key: (row) => row.n, className: "number", down: true },
    { id: "date", name: "Date", key: (row) => row.run.date, down: true },
  ];
  const sorted = (found) => {
    const { key } = COLUMNS.find((column) => column.id === state.sort);
    const sign = state.down ? -1 : 1;
    return found.map((row) => [row, key(row)]).sort(([a, x], [b, y]) => {
      if (a.limited !== b.limited) return a.limited ? 1 : -1;
      if (a.current !== b.current) return a.current ? -1 : 1;
      if ((x === null) !== (y === null)) return x === null ? 1 : -1;
      const order = typeof x === "string" ? alphabetical.compare(x, y) : x - y;
      return order * sign || a.order - b.order;
    }).map(([row]) => row);
  };
  const sortBy = (id) => {
    const column = COLUMNS.find((candidate) => candidate.id === id);
    state.down = state.sort === id ? !state.down : Boolean(column.down);
    state.sort = id;
    state.page = 0;
    renderTable();
  };
  for (const column of COLUMNS) {
    const head = make("th", column.className);
    head.scope = "col";
    head.dataset.column = column.id;
    head.setAttribute("role", "columnheader");
    const button = make("button", "", column.name);
    button.type = "button";
    const arrow = make("span", "arrow");
    arrow.setAttribute("aria-hidden", "true");
    button.append(arrow);
    button.addEventListener("click", () => sortBy(column.id));
    head.append(button);
    by("head").append(head);
    by("order").append(option(column.id, column.name));
  }

  const cell = (className, ...content) => {
    const node = make("td", className);
    node.setAttribute("role", "cell");
    node.append(...content);
    return node;
  };
  const line = (className) => {
    const node = make("tr", className);
    node.setAttribute("role", "row");
    return node;
  };
  const FACTS = [
    ["Model", "model"], ["Model type", "model_type"], ["Model arguments", "model_args"],
    ["Revision", "revision"], ["Commit", "model_sha"], ["Precision", "dtype"], ["Method", "method"],
    ["Method arguments", "method_args"], ["Artefact", "artefact_hash"],
    ["Generation", "gen_kwargs"], ["Seeds", "seeds"], ["Hardware", "hardware"],
    ["lm-eval", "lm_eval_version"], ["paperharness", "harness_version"], ["torch", "torch_version"],
    ["transformers", "transformers_version"], ["Run", "run_id"], ["File", "file"],
  ];
  const JSON_FACTS = new Set(["model_args", "method_args", "gen_kwargs", "seeds"]);
  const details = (row) => {
    const list = make("dl");
    const fact = (name, value) => {
      if (value === null || value === undefined || value === "") return;
      const pair = make("div");
      const told = make("dd");
      told.append(value);
      pair.append(make("dt", "", name), told);
      list.append(pair);
    };
    fact("95 % interval", interval(row));
    for (const id of data.shares) {
      if (row[id] !== null) fact(id[0].toUpperCase() + id.slice(1), joined([percent(row[id]), percentInterval(row[id])]));
    }
    fact("Documents", row.n === null ? "" : whole(row.n));
    fact("Unscored", row.unscored === null ? "" : whole(row.unscored));
    fact("Date", row.run.date.replace("T", " ").replace("Z", " UTC"));
    fact("Duration", row.run.seconds === null ? "" : `${whole(Math.round(row.run.seconds))} s`);
    for (const [name, key] of FACTS) {
      fact(name, JSON_FACTS.has(key) ? settings(row.run[key]) : row.run[key]);
    }
    fact("Task version", row.contest.version);
    fact("Judge", row.contest.judge);
    fact("Data SHA-256", row.contest.data_sha256);
    if (data.view) {
      const link = Object.assign(make("a", "", "Read its samples"), { href: samples(row) });
      fact("Samples", link);
    }
    const node = line("details");
    const holder = cell("", list);
    holder.colSpan = COLUMNS.length;
    node.append(holder);
    return node;
  };
  const entry = (row) => {
    const node = line("entry");
    node.classList.toggle("top", row.rank === 1);
    node.classList.toggle("faded", row.limited || !row.current);
    const open = make("button", "open");
    open.type = "button";
    open.append(make("span", "lead", row.run.shown));
    open.title = row.run.model;
    open.setAttribute("aria-expanded", String(state.open.has(row.order)));
    open.addEventListener("click", () => {
      const was = state.open.has(row.order);
      if (was) state.open.delete(row.order); else state.open.add(row.order);
      open.setAttribute("aria-expanded", String(!was));
      if (was) node.nextSibling.remove(); else node.after(details(row));
    });
    const model = cell("model", open, make("span", "under", row.run.how));
    if (row.limited) model.append(make("span", "badge", limitText(row)));
    if (row.predicted) model.append(make("span", "badge", "predicted only"));
    if (!row.current) model.append(make("span", "badge", "replaced"));
    const task = make("span", "lead", row.contest.task);
    const under = make("span", "under", row.contest.where);
    under.prepend(make("span", "on-phone", `${row.contest.metric} ${row.contest.arrow}${under.textContent ? " · " : ""}`));
    const score = cell("number score", make("span", "value", show(row.value)));
    score.append(make("span", "under", interval(row)));
    const shares = data.shares.map((id) => {
      const share = cell("number share", percent(row[id]));
      share.append(make("span", "under", percentInterval(row[id])));
      return share;
    });
    const count = cell("number count", whole(row.n));
    if (row.unscored) count.append(make("span", "under", `${whole(row.unscored)} unscored`));
    node.append(
      cell("rank", row.rank === null ? "–" : String(row.rank)), model, cell("task", task, under),
      cell("metric", ...breakable(`${row.contest.metric}\u00a0${row.contest.arrow}`)), score, ...shares, count,
      cell("date", row.run.date.slice(0, 10) || "—"));
    return node;
  };

  const samples = (row) => {
    const task = row.contest.group ? "" : `task=${encodeURIComponent(row.contest.task)}&`;
    return `${data.view}#${task}run=${encodeURIComponent(row.run.run_id)}`;
  };

  let found = [];
  const renderTable = () => {
    const ordered = sorted(found);
    const pages = Math.max(1, Math.ceil(ordered.length / PER_PAGE));
    state.page = Math.min(state.page, pages - 1);
    const start = state.page * PER_PAGE;
    const slice = ordered.slice(start, start + PER_PAGE);
    for (const head of by("head").children) {
      const active = head.dataset.column === state.sort;
      head.setAttribute("aria-sort", active ? (state.down ? "descending" : "ascending") : "none");
      head.querySelector(".arrow").textContent = active ? (state.down ? "▼" : "▲") : "";
    }
    by("order").value = state.sort;
    const body = slice.flatMap((row) => (state.open.has(row.order) ? [entry(row), details(row)] : [entry(row)]));
    if (!body.length) {
      const none = line("none");
      const holder = cell("empty", "Nothing matches. Clear a filter to see more.");
      holder.colSpan = COLUMNS.length;
      none.append(holder);
      body.push(none);
    }
    by("body").replaceChildren(...body);
    const end = start + slice.length;
    by("count").textContent = pages > 1
      ? `${whole(start + 1)}–${whole(end)} of ${whole(ordered.length)}`
      : `${whole(ordered.length)} ${ordered.length === 1 ? "result" : "results"}`;
    by("pager").hidden = pages === 1;
    by("page").textContent = `Page ${whole(state.page + 1)} of ${whole(pages)}`;
    by("previous").disabled = state.page === 0;
    by("next").disabled = state.page === pages - 1;
  };

  // The comparison.
  // From end to end of the metric's range; where an end is not known, or left, as far as the data go.
  const domain = (contest, shown) => {
    const ends = shown.flatMap((row) => [row.value, row.low, row.high]).filter((value) => value !== null);
    let low = Math.min(...ends), high = Math.max(...ends);
    const from = contest.lowest !== null && low >= contest.lowest;
    const to = contest.highest !== null && high <= contest.highest;
    if (from) low = contest.lowest;
    if (to) high = contest.highest;
    if (low === high) { if (!from) low -= Math.abs(low) * 0.05 || 0.5; if (!to || from) high += Math.abs(high) * 0.05 || 0.5; }
    return { low, high, from, to };
  };
  const scale = (contest, shown) => {
    const { low, high, from, to } = domain(contest, shown);
    const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) * power;
    const first = from ? low : Math.floor(low / step + 1e-9) * step;
    const last = to ? high : Math.ceil(high / step - 1e-9) * step;
    const inside = [];
    for (let n = Math.floor(first / step) + 1; n * step < last - step * 0.3; n += 1) {
      if (n * step > first + step * 0.3) inside.push(n * step);
    }
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const span = last - first;
    return {
      at: (value) => `${(((value - first) / span) * 100).toFixed(3)}%`,
      ticks: [first, ...inside, last].map((value) => ({
        value, text: digits > 5 || Math.max(Math.abs(low), Math.abs(high)) >= 1e6 ? value.toExponential(1)
          : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
      })),
    };
  };
  const mark = (row, at) => {
    const nodes = [];
    if (row.low !== null) nodes.push(draw("line", { class: "whisker", x1: at(row.low), x2: at(row.high), y1: "50%", y2: "50%" }));
    if (row.value !== null) nodes.push(draw("circle", { class: "dot", cx: at(row.value), cy: "50%", r: 5 }));
    return nodes;
  };
  const kind = (row) => `${row.run.method ? "method " : ""}${row.limited ? "limited" : ""}`;
  const bar = (row, ruler) => {
    const node = make("li", kind(row));
    node.classList.toggle("first", row.rank === 1);
    const who = make("div", "who");
    who.title = joined([row.run.name, row.run.how]);
    who.append(make("span", "name", row.run.short),
      make("span", "how", row.limited ? joined([row.run.how, limitText(row)]) : row.run.how));
    const svg = draw("svg", { "aria-hidden": "true" });
    svg.append(...ruler.ticks.map(({ value }) =>
      draw("line", { class: "grid", x1: ruler.at(value), x2: ruler.at(value), y1: 0, y2: "100%" })), ...mark(row, ruler.at));
    const score = make("span", "score", show(row.value));
    score.title = interval(row);
    if (row.n !== null) score.append(make("span", "under", `n\u00a0${whole(row.n)}`));
    node.append(who, svg, score);
    return node;
  };
  const axis = (ruler) => {
    const svg = draw("svg", { "aria-hidden": "true" });
    ruler.ticks.forEach(({ value, text }, i) => {
      const anchor = i === 0 ? "start" : i === ruler.ticks.length - 1 ? "end" : "middle";
      const node = draw("text", { x: ruler.at(value), y: "0.95rem", "text-anchor": anchor });
      node.textContent = text;
      svg.append(node);
    });
    const node = make("div", "axis");
    node.append(svg);
    return node;
  };
  const figure = (place, ranked) => {
    const contest = contests[place];
    const shown = state.whole.has(place) ? ranked.slice(0, MOST) : ranked.slice(0, BARS);
    const ruler = scale(contest, ranked);
    const node = make("article", "figure");
    const title = make("h3", "", `${contest.task} `);
    title.append(make("span", "", `${contest.metric} ${contest.arrow}`));
    const list = make("ol", "bars");
    list.append(...shown.map((row) => bar(row, ruler)));
    const better = contest.up === null ? "" : contest.up ? "higher is better" : "lower is better";
    node.append(title, make("p", "about", joined([
      contest.where, contest.version && `version ${contest.version}`,
      contest.by && `judged by ${contest.by}`, better,
    ])), list, axis(ruler));
    if (ranked.length > BARS) {
      const all = state.whole.has(place);
      const button = make("button", "", all ? `First ${BARS} only` : ranked.length > MOST ? `Show ${MOST} of ${ranked.length}` : `Show all ${ranked.length}`);
      button.type = "button";
      button.addEventListener("click", () => {
        if (all) state.whole.delete(place); else state.whole.add(place);
        const fresh = figure(place, ranked);
        node.replaceWith(fresh);
        fresh.querySelector("button").focus();
      });
      node.append(button);
    }
    return node;
  };
  const renderCharts = () => {
    const byContest = new Map();
    for (const row of found) {
      if (!row.current || row.value === null) continue;
      if (!byContest.has(row.place)) byContest.set(row.place, []);
      byContest.get(row.place).push(row);
    }
    const places = [...byContest.keys()].sort((a, b) => a - b);
    const shown = places.slice(0, state.charts);
    by("charts").replaceChildren(...shown.map((place) => figure(place, byContest.get(place))));
    if (!shown.length) by("charts").append(make("p", "empty", "No scores to compare under these filters."));
    by("more-charts").hidden = shown.length === places.length;
    by("more-charts").textContent = `Show ${Math.min(MORE, places.length - shown.length)} more`;
    const present = new Set([...byContest.values()].flat().map(kind));
    const names = { "": "stock model", "method ": "with a method", limited: "part of the data", "method limited": "method, part of the data" };
    by("legend").replaceChildren(...(present.size < 2 ? [] : Object.keys(names).filter((name) => present.has(name)).map((name) => {
      const item = make("li", name);
      const svg = draw("svg", { "aria-hidden": "true" });
      svg.append(...mark({ low: 0, value: 50, high: 100 }, (value) => `${value}%`));
      item.append(svg, names[name]);
      return item;
    })));
  };

  // Everything together, and the filters in the address so that a view can be shared.
  const renderMatrix = matrixOf({
    by, make, draw, show, whole, interval, joined, breakable, contests, lines: data.lines, alphabetical, domain, samples, phone,
    view: data.view,
  });
  const render = () => {
    found = matching();
    const every = by("metric").value === "*";
    renderMatrix(found.filter((row) => row.current && (row.headline || !every)));
    renderTable();
    renderCharts();
    const want = read();
    const changed = CONTROLS.filter((id) => want[id] !== blank[id]);
    by("reset").hidden = !changed.length;
    const address = new URLSearchParams(changed.map((id) => [id, String(want[id])])).toString();
    history.replaceState(null, "", address ? `#${address}` : location.href.split("#")[0]);
  };
  const restore = () => {
    for (const [id, value] of new URLSearchParams(location.hash.slice(1))) {
      if (!CONTROLS.includes(id)) continue;
      const control = by(id);
      if (control.type === "checkbox") control.checked = value === "true";
      else if (id === "text" || [...control.options].some((choice) => choice.value === value)) control.value = value;
    }
  };
  const changed = () => { state.page = 0; state.charts = CHARTS; render(); };
  let typing;
  const soon = (event) => {
    if (event.target.id === "order") return;
    clearTimeout(typing);
    typing = setTimeout(changed, event.type === "input" ? 120 : 0);
  };
  by("filters").addEventListener("input", soon);
  by("filters").addEventListener("change", soon);
  by("filters").addEventListener("submit", (event) => event.preventDefault());
  by("filters").addEventListener("reset", () => setTimeout(changed, 0));
  by("order").addEventListener("change", (event) => sortBy(event.target.value));
  by("more-charts").addEventListener("click", () => { state.charts += MORE; renderCharts(); });
  const turn = (by_) => { state.page += by_; renderTable(); by("results").scrollIntoView(); by("results").focus(); };
  by("previous").addEventListener("click", () => turn(-1));
  by("next").addEventListener("click", () => turn(1));
  restore();
  render();
})();
