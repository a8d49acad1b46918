// Above the canvas: the metric, the search, zoom, collapse. Below it: the scale of colours.

function makeToolbar(v) {
  const bar = el("div", "qviz-bar");
  const metrics = el("span", "qviz-segments");
  metrics.setAttribute("role", "group");
  metrics.setAttribute("aria-label", "Coloured by");
  v.metricButtons = v.data.metrics.map((metric, i) => button("", metric.title, metric.help, () => recolour(v, i)));
  metrics.append(...v.metricButtons);
  v.beforeButton = button("", "+ all before", "Select the operator in view and all that it is computed from", () => selectBefore(v));
  v.foldButton = button("", "", "", () => toggleAll(v));
  const zoom = el("span", "qviz-zoom");
  // a name begins with the text that is seen, so that it can be spoken to a computer
  const named = (text, label, act) => {
    const one = button("", text, label, act);
    one.setAttribute("aria-label", /[a-z]/i.test(text) ? `${text}: ${label}` : label);
    return one;
  };
  zoom.append(named("−", "Zoom out (-)", () => zoomAt(v, 0.8)), named("+", "Zoom in (+)", () => zoomAt(v, 1.25)), named("Fit", "Whole network (0)", () => glideTo(v, v.fit)));
  bar.append(metrics, makeSearch(v), el("span", "qviz-space"), v.beforeButton, v.foldButton, zoom);
  return bar;
}

function recolour(v, metric) {
  v.metric = v.memory.metric = metric;
  v.metricButtons.forEach((one, i) => one.setAttribute("aria-pressed", i === metric));
  v.root.dataset.metric = v.data.metrics[metric].name;
  requestPaint(v);
}

function makeSearch(v) {
  const box = el("span", "qviz-search");
  v.search = el("input");
  v.search.type = "search";
  v.search.placeholder = "Find";
  v.search.title = "A number, or a part of a tensor's name or of an operator type; Enter jumps to it";
  v.search.maxLength = 200;
  v.search.setAttribute("aria-label", "Find an operator by its number, the name of its tensor, or its kind; Enter jumps to it");
  v.search.value = v.query ?? "";
  v.countText = el("span", "qviz-quiet");
  v.search.addEventListener("input", () => find(v));
  v.search.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") jump(v, event.shiftKey ? -1 : 1);
    if (event.key === "Escape") {
      v.search.value = "";
      find(v);
      v.canvas.focus({ preventScroll: true });
    }
  });
  box.append(v.search, v.countText);
  return box;
}

function find(v) {
  const text = (v.query = v.search.value.trim()).toLowerCase();
  const number = /^\d+$/.test(text) ? Number(text) : null;
  const holds = (row) => row.order === number || `${row.tensor} ${row.kind} ${row.short}`.toLowerCase().includes(text);
  const hits = text ? v.net.ops.flatMap((row, op) => (holds(row) ? [op] : [])) : [];
  // the operator of that number comes first
  v.hits = number === null ? hits : hits.sort((a, b) => (v.net.ops[b].order === number) - (v.net.ops[a].order === number));
  v.matches = text ? new Set(hits) : null;
  v.hitAt = -1;
  sayHits(v);
  requestPaint(v);
}

function sayHits(v) {
  const count = v.hits.length;
  setText(v.countText, !v.query ? "" : !count ? "none" : v.hitAt < 0 ? String(count) : `${v.hitAt + 1} of ${count}`);
}

function jump(v, by) {
  if (!v.hits?.length) return;
  v.hitAt = (v.hitAt + by + v.hits.length) % v.hits.length;
  const op = v.hits[v.hitAt];
  sayHits(v);
  lookAt(v, op);
  if (v.net.ops[op].measured) choose(v, op);
  else v.cursor = op;
}

function makeLegend(v) {
  const legend = el("div", "qviz-legend");
  const bar = el("i", "qviz-scale");
  bar.style.background = `linear-gradient(to right, ${v.data.scale.map(([at, colour]) => `${colour} ${100 * at}%`).join(", ")})`;
  const [low, high] = v.data.range;
  const key = (className, text) => {
    const one = el("span", "qviz-key");
    one.append(el("i", className), el("span", "", text));
    return one;
  };
  legend.append(el("span", "", `${low} dB`), bar, el("span", "", `${high} dB or more`));
  legend.append(key("qviz-hollow", "no difference"), key("qviz-hollow is-dashed", "not compared"), key("qviz-ring", "stands out"));
  legend.append(makeHelp());
  return legend;
}

const HELP = [
  ["drag, wheel, pinch", "pan and zoom"],
  ["click", "details of an operator"],
  ["Ctrl-click, Shift-drag", "select several"],
  ["click on a block's name", "select all of it"],
  ["double-click on a block", "collapse or expand it"],
  ["arrow keys, Enter, Space", "move along the network, show, select"],
  ["+ − 0 / C", "zoom in, out, whole network, find, collapse"],
];

function makeHelp() {
  const help = el("details", "qviz-help");
  const list = el("dl");
  for (const [keys, text] of HELP) list.append(el("dt", "", keys), el("dd", "", text));
  help.append(el("summary", "", "Keys"), list);
  return help;
}
