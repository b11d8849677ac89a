// The list, the keyboard, the address, and the start.
const ROW = 62, SPARE = 6, MOST = 400000;
const list = by("list"), rowsBox = by("rows");
const rowOf = (found, place) => {
  const node = make("div", "row"), dots = make("span", "dots");
  node.id = `row-${place}`;
  node.setAttribute("role", "option");
  node.setAttribute("aria-selected", String(found === state.chosen));
  node.style.setProperty("transform", `translateY(${place * ROW}px)`);
  const seen = new Map();
  for (const sample of found.samples) {
    const { kind } = verdict(sample), known = seen.get(sample[RUN]);
    seen.set(sample[RUN], !known || known === "none" || known === kind ? kind : kind === "none" ? known : "mixed");
  }
  for (const kind of [...seen.values()].slice(0, 10)) dots.append(make("i", kind));
  node.append(make("span", "words", found.snippet || (tasks[found.task].hidden && data.left_out.hidden ? "texts are hidden" : "—")), make("span", "under", `${tasks[found.task].name} ${found.number}`), dots);
  node.addEventListener("click", () => choose(found, "", true));
  return node;
};
const drawList = () => {
  const count = Math.min(state.listed.length, MOST);
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE), last = Math.min(count, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
  rowsBox.style.setProperty("height", `${count * ROW}px`);
  rowsBox.replaceChildren(...state.listed.slice(first, last).map((found, place) => rowOf(found, first + place)));
  const at = state.chosen ? state.listed.indexOf(state.chosen) : -1;
  if (at >= first && at < last) list.setAttribute("aria-activedescendant", `row-${at}`);
  else list.removeAttribute("aria-activedescendant");
};
const tell = () => {
  const count = state.listed.length, parts = [`${whole(count)} of ${whole(data.documents)}`];
  if (progress.loaded < data.parts) parts.push(`loading ${Math.floor((100 * progress.loaded) / data.parts)} %`);
  if (state.found && state.searched < data.shards) parts.push(`searched ${Math.floor((100 * state.searched) / data.shards)} %`);
  if (count > MOST) parts.push(`the first ${whole(MOST)} are listed`);
  by("count").textContent = parts.join(" · ");
  by("reset").hidden = !filtered();
};
// Of the short values those that the chosen task has.
const fitFacets = () => {
  const task = by("task").value, unseen = new Set(facetNames.keys());
  for (const found of documents) {
    if (!unseen.size) break;
    if (task !== "" && found.task !== Number(task)) continue;
    for (const place of unseen) if (found.facets[place] >= 0) unseen.delete(place);
  }
  facetNames.forEach((name, place) => {
    const select = by(`facet-${place}`);
    select.closest("label").hidden = unseen.has(place) && select.value === "";
  });
};
const refresh = (keep = true) => {
  filter();
  fitFacets();
  tell();
  if (!keep || !state.chosen || (!state.listed.includes(state.chosen) && !state.asked)) {
    const next = state.listed[0] || null;
    if (next !== state.chosen) choose(next, "", false);
  }
  drawList();
};
const reveal = (found) => {
  const at = state.listed.indexOf(found);
  if (at < 0) return;
  rowsBox.style.setProperty("height", `${Math.min(state.listed.length, MOST) * ROW}px`);
  if (at * ROW < list.scrollTop) list.scrollTop = at * ROW;
  else if ((at + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (at + 1) * ROW - list.clientHeight;
};
// Where there is room for one of them, the list and a document are two steps of the browser's history.
const narrow = matchMedia("(max-width: 56rem)");
const toList = () => document.body.classList.remove("reading");
const choose = (found, run, byHand) => {
  const opens = byHand && narrow.matches && !document.body.classList.contains("reading");
  state.chosen = found;
  state.run = run;
  if (byHand) { state.asked = false; state.number = undefined; document.body.classList.add("reading"); }
  if (opens) {
    history.replaceState("list", "");
    history.pushState("read", "", address(found, run));
  } else if (found && (byHand || !state.asked)) history.replaceState(history.state, "", address(found, run));
  reveal(found);
  drawList();
  drawDocument();
  if (byHand && narrow.matches) scrollTo(0, 0);
};
const chooseFactor = (factor) => {
  state.factor = factor;
  filter();
  tell();
  drawList();
  drawDocument();
  history.replaceState(history.state, "", address(state.chosen, state.run));
};
const move = (step) => {
  if (!state.listed.length) return;
  const at = state.listed.indexOf(state.chosen);
  const next = Math.min(Math.max(at + step, 0), state.listed.length - 1);
  if (next !== at) choose(state.listed[next], "", true);
};
const copyLink = async (button) => {
  if (!state.chosen) return;
  const url = location.href.split("#")[0] + address(state.chosen, state.run);
  try { await navigator.clipboard.writeText(url); button.textContent = "Copied"; } catch {
    history.replaceState(history.state, "", address(state.chosen, state.run));
    button.textContent = "It is in the address bar";
  }
  setTimeout(() => { button.textContent = "Copy link"; }, 1500);
};

// The address asks for a sample, which may not be loaded yet.
const follow = () => {
  const asked = addressed();
  if (asked.run && !tasks.some((task) => task.name === asked.task)) delete asked.task;  // a group of tasks
  if (!asked.task && !asked.doc && !asked.run) return;
  state.asked = true;
  const found = documents.find(meant(asked));
  if (!found) {
    if (progress.loaded === data.parts) { state.asked = false; by("count").textContent = "The address names no sample here."; }
    return;
  }
  if (!asked.doc && asked.task) by("task").value = String(tasks.findIndex((task) => task.name === asked.task));
  if (!asked.doc && asked.run) by("run").value = String(runs.findIndex((run) => run.ids.includes(asked.run)));
  state.number = asked.doc ? Number(asked.doc) : undefined;
  if (asked.factor && Number.isFinite(Number(asked.factor))) state.factor = Number(asked.factor);
  filter();
  tell();
  document.body.classList.toggle("reading", Boolean(asked.doc));
  choose(found, asked.run || "", false);
  state.asked = false;
};

const toggle = (kind) => { by("show").value = by("show").value === kind ? "" : kind; refresh(); };
const help = by("help");
const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  g: () => move(-Infinity), G: () => move(Infinity),
  "/": () => { document.body.classList.remove("reading"); by("text").focus(); },
  d: () => toggle("score"), w: () => toggle("wrong"), c: () => by("copy")?.click(),
  "?": () => help.showModal(), h: () => help.showModal(),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const typing = event.target.matches("input, select, textarea");
  if (typing) { if (event.key === "Escape") event.target.blur(); return; }
  const act = KEYS[event.key];
  if (act) { event.preventDefault(); act(); }
});

const fill = (select, names) => names.forEach(([value, name]) => select.append(new Option(name, value)));
fill(by("run"), runs.map((run) => [run.place, run.name]));
fill(by("task"), tasks.map((task) => [task.place, task.name]));
by("run").closest("label").hidden = runs.length < 2;
by("task").closest("label").hidden = tasks.length < 2;
facetNames.forEach((name, place) => {
  const label = make("label"), select = make("select");
  select.id = `facet-${place}`;
  select.append(new Option("all", ""));
  const values = data.facets[name].map((words, number) => [number, words]);
  fill(select, values.sort((a, b) => a[1].localeCompare(b[1], "en", { numeric: true })));
  label.append(make("span", "", readable(name)), select);
  by("facets").append(label);
});

let typed = 0;
by("text").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => {
    search(() => refresh()).then(() => drawDocument(), (error) => { by("count").textContent = error.message; });
  }, 250);
});
by("filters").addEventListener("change", (event) => { if (event.target.id !== "text") refresh(); });
by("filters").addEventListener("submit", (event) => event.preventDefault());
by("reset").addEventListener("click", () => { by("filters").reset(); search(() => refresh()); });
by("help-open").addEventListener("click", () => help.showModal());
list.addEventListener("scroll", () => requestAnimationFrame(drawList), { passive: true });
addEventListener("resize", drawList);
addEventListener("popstate", () => (history.state === "list" ? toList() : history.state === "read" && document.body.classList.add("reading")));
addEventListener("hashchange", () => { if (history.state !== "list") follow(); });

follow();
loadIndex(() => {
  if (state.asked) follow();
  if (progress.loaded === 1 || progress.loaded === data.parts || progress.loaded % 4 === 0) refresh();
}).then(() => refresh(), (error) => { by("document").replaceChildren(make("p", "empty", `${error.message}: is the folder whole?`)); });
