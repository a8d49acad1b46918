// The entry. Streamlit calls it again on every change of `data`, with the same root; it must be idempotent.
//
// data = {
//   rev        changes with the network and its figures; only then is all built anew
//   key        of the network: what was unfolded, and the zoom, come back when the page shows it again
//   ops        [{order, kind, short, name, tensor, block, measured, outlier, values: [of each metric | null],
//              facts: [[label, text]], refused: which backend does not run it, or ""}], so that every edge leads to a later one
//   edges      [[position, position], ...]
//   blocks     [{name, kinds}]
//   metrics    [{name, title, label, help}]; a higher value is better
//   scale      [[share, "#rrggbb"], ...]; range: [value at 0, value at 1]
//   chosen, selected   operator index, and indices, in view
//   at         stamp of the last pick that Python acted on: older data does not undo a newer click
// }
// Reported: pick, whose value is {chosen, selected}.

const remembered = new Map();

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".qviz-network");
  if (!root || !data) return undefined;
  const v = (root.qviz ??= { root, paints: 0, at: 0, query: "", hits: [], matches: null });
  v.setStateValue = setStateValue;
  if (v.data?.rev !== data.rev) build(v, data);
  else follow(v, data);
  return () => v.sizes?.disconnect();
}

function build(v, data) {
  const memory = remembered.get(data.key) ?? {};
  remembered.set(data.key, memory);
  const net = prepare({ ops: data.ops, edges: data.edges, blocks: data.blocks });
  net.position = new Map(net.ops.map((row, op) => [row.order, op]));
  net.outliers = net.ops.flatMap((row, op) => (row.outlier ? [op] : []));
  net.refused = net.ops.flatMap((row, op) => (row.refused ? [op] : []));
  Object.assign(v, { data, net, memory, metric: memory.metric ?? 0, chosen: null, selected: new Set(), hovered: null, cursor: null, rubber: null, inks: {}, scale: scaleOf(data.scale) });
  const toolbar = makeToolbar(v);
  const stage = el("div", "qviz-stage");
  v.canvas = el("canvas");
  v.canvas.tabIndex = 0;
  v.canvas.setAttribute("role", "application");
  v.canvas.setAttribute("aria-label", "The network, coloured by error. Arrow keys move along it, Enter shows an operator, Space selects, plus and minus zoom.");
  v.pen = v.canvas.getContext("2d", { alpha: false });
  v.tip = el("div", "qviz-tip");
  v.tip.hidden = true;
  v.live = el("div", "qviz-live");
  v.live.setAttribute("aria-live", "polite");
  stage.append(v.canvas, v.tip, v.live);
  v.root.replaceChildren(toolbar, stage, makeLegend(v));
  v.stage = stage;
  v.layout = null;
  v.camera = null;
  listenToPointer(v);
  listenToKeys(v);
  watch(v);
  take(v, data);
  recolour(v, v.metric);
  find(v);
  v.root.dataset.rev = data.rev;
}

// A new size, another pixel ratio, another theme: measured and painted again.
function watch(v) {
  v.sizes?.disconnect();
  v.sizes = new ResizeObserver(() => resize(v));
  v.sizes.observe(v.stage);
  resize(v);
  const recoloured = () => {
    v.theme = themeOf(v.root, v.pen);
    v.inks = {};
    requestPaint(v);
  };
  v.stage.addEventListener("transitionend", (event) => event.target === v.stage && recoloured());
}

function resize(v) {
  const { clientWidth: w, clientHeight: h } = v.stage;
  if (!w || !h) return;
  const dpr = window.devicePixelRatio || 1;
  if (v.layout && v.size.w === w && v.size.h === h && v.dpr === dpr) return;
  Object.assign(v, { size: { w, h }, dpr, theme: themeOf(v.root, v.pen) });
  v.canvas.width = Math.round(w * dpr);
  v.canvas.height = Math.round(h * dpr);
  relayout(v, v.layout === null ? (v.memory.camera ?? null) : null);
  paint(v);
}

function follow(v, data) {
  v.data = { ...v.data, at: data.at };
  v.sizes?.observe(v.stage);
  if (data.at >= v.at) take(v, data);
}

function take(v, data) {
  const before = v.chosen;
  v.chosen = v.net.position.get(data.chosen) ?? null;
  v.selected = new Set(data.selected.map((order) => v.net.position.get(order)).filter((op) => op !== undefined));
  mark(v);
  if (before !== null && v.chosen !== null && before !== v.chosen && v.layout && !isSeen(v, v.chosen)) lookAt(v, v.chosen);
}

const READABLE = 4.5; // pixels of an operator's height at "Fit", below which blocks are folded at first

// camera: where to look; without it the whole network.
function relayout(v, camera = null) {
  v.memory.open ??= opened(v);
  const { w, h } = v.size;
  v.layout = arrange(v.net, v.memory.open, w - 2 * EDGE, h - 2 * EDGE);
  v.fit = fitted(v);
  v.camera ??= v.fit;
  moveTo(v, camera ?? v.fit);
  const closed = v.net.members.some((members, block) => members.length > 1 && !v.memory.open.has(block));
  setText(v.foldButton, closed ? "Expand all" : "Collapse all");
  v.root.dataset.open = v.memory.open.size;
}

function opened(v) {
  const every = new Set(v.net.blocks.keys());
  const layout = arrange(v.net, every, v.size.w, v.size.h);
  const s = Math.min(v.size.w / layout.w, v.size.h / layout.h);
  return CHIP.h * s >= READABLE ? every : new Set();
}

// The block stays where it is on the screen, unless the whole network is in view.
function toggle(v, block) {
  const { open } = v.memory, before = { ...v.layout.boxes[block] }, whole = isFitted(v), { s, x, y } = v.camera;
  if (v.net.members[block].length === 1) return;
  if (!open.delete(block)) open.add(block);
  relayout(v);
  const after = v.layout.boxes[block];
  if (!whole) moveTo(v, { s, x: x + (before.x - after.x) * s, y: y + (before.y - after.y) * s });
  showTip(v, null);
}

function toggleAll(v) {
  const every = [...v.net.blocks.keys()].filter((block) => v.net.members[block].length > 1);
  const closed = every.some((block) => !v.memory.open.has(block));
  v.memory.open = new Set(closed ? v.net.blocks.keys() : []);
  relayout(v);
}
