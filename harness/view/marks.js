// What traces draw on a text.
const KINDS_SAID = { accepted: "draft, accepted", rejected: "draft, rejected", written: "written by the model itself", deciding: "what decided" };
const pieces = (found) => {
  const text = make("p", "drawn");
  for (const [place, [given, kind]] of found.entries()) {
    const words = place ? given : given.replace(/^\s*\n/, "");
    if (!kind) { text.append(words); continue; }
    const node = make("span", `piece ${KINDS_SAID[kind] ? kind : "other"}`, words);
    node.title = KINDS_SAID[kind] || kind;
    text.append(node);
  }
  const legend = make("ul", "kinds");
  for (const kind of new Set(found.map((one) => one[1]).filter(Boolean))) {
    const item = make("li");
    item.append(make("span", `piece ${KINDS_SAID[kind] ? kind : "other"}`, "abc"), ` ${KINDS_SAID[kind] || kind}`);
    legend.append(item);
  }
  return [text, legend];
};
const SHADES = 8;
const shades = (drawing) => {
  const names = Object.keys(drawing.lines), text = make("p", "drawn"), choice = make("select", "choice"), note = make("p", "about");
  choice.setAttribute("aria-label", "Figure that is drawn");
  for (const name of names) choice.append(new Option(readable(name), name));
  const nodes = drawing.tokens.map((words) => make("span", "token", words));
  text.append(...nodes);
  const paint = () => {
    const line = drawing.lines[choice.value], known = line.filter((one) => one !== null);
    const low = Math.min(...known), high = Math.max(...known), range = high - low || 1;
    nodes.forEach((node, place) => {
      const value = line[place];
      node.className = value === null ? "token" : `token s${Math.min(SHADES - 1, Math.floor(((value - low) / range) * SHADES))}`;
      node.title = `${readable(choice.value)} ${show(value)}`;
    });
    note.textContent = `darker: more; ${show(low)} to ${show(high)}, mean ${show(known.reduce((a, b) => a + b, 0) / known.length)}`;
  };
  choice.addEventListener("change", paint);
  paint();
  return names.length > 1 ? [choice, text, note] : [text, note];
};
const drawing = (found) => {
  const node = make("div", "drawing");
  node.append(make("h4", "", readable(found.title)), ...(found.kind === "shades" ? shades(found) : pieces(found.pieces)));
  return node;
};
