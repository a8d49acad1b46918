// The entry. Streamlit calls it again on every change of `data`, with the same root; it must be idempotent.
//
// data = {
//   rev            changes whenever anything drawn changes; only then is the DOM built anew
//   image          {src: data URI, width, height, name}; boxes are pixels of width x height, the JPEG may be smaller
//   reference      {name, colour, boxes: [[x1, y1, x2, y2, score, class id], ...], shapes}
//                  shapes is null, or for each box {outline, mask, bones, points}: paths, each of which may be missing
//   variants       [{id, name, scheme, colour, boxes, shapes, steps: [[t, [[reference index | -1, variant index | -1,
//                  kept | shifted | relabelled | lost | spurious, IoU | null, gone | threshold | nms | unknown | null]]]]}]
//                  steps ascend; the rows of the last one with t <= threshold are in force
//   truth          [[x1, y1, x2, y2, class id], ...] | null
//   labels         {"0": "person", ...}
//   view           {threshold, floor, mode, focus, changes, classes ([] is all), truth, selected, present}: to start with
//   position       {index, count} of the image in the strip; may change without another rev
// }
// Reported: the names of FIELDS as {value, rev, at}, and `step`; see `step`.

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".qviz-viewer");
  if (!root || !data) return undefined;
  const v = (root.qviz ??= { root, run: 0, cut: 0.5, steps: [], told: {}, received: {}, camera: homeCamera() });
  const run = (v.run += 1);
  v.setStateValue = setStateValue;
  listenToKeys(v);
  if (v.data?.rev === data.rev) {
    followView(v, data.view);
    showPlace(v, data.position);
  } else build(v, data);
  // Streamlit may clean up a run that another has already overtaken.
  return () => v.run === run && stopListening(v);
}

async function build(v, data) {
  const started = performance.now();
  // A variant was added to the image being looked at: the place the user zoomed to stays.
  if (!sameImage(v.data?.image, data.image)) v.camera = homeCamera();
  Object.assign(v, { data, state: readView(data.view), told: {}, hovered: null, hoveredFrom: null, marked: [], shot: null });
  receive(v, data.view);
  v.root.dataset.painted = "false";
  v.font = getComputedStyle(v.root).fontFamily;
  const parts = assemble(v);
  paintBoxes(v);
  // The old picture stays until the new one is decoded: stepping through a strip does not flash.
  await Promise.all(v.panes.map(decoded));
  if (v.data !== data) return;
  show(v, parts);
  v.root.dataset.rev = data.rev;
  v.root.dataset.painted = "true";
  v.root.dataset.paintMs = (performance.now() - started).toFixed(1);
}

function sameImage(a, b) {
  return Boolean(a) && a.name === b.name && a.width === b.width && a.height === b.height;
}

function assemble(v) {
  const focus = focusOf(v);
  const others = v.data.variants.filter((variant) => variant !== focus);
  v.panes = [null, ...(focus ? [focus] : []), ...others].map((variant) => makePane(v, variant));
  v.panesEl = el("div", "qviz-panes");
  v.divider = makeDivider(v);
  v.panesEl.append(...v.panes.map((pane) => pane.el), v.divider);
  v.tip = el("div", "qviz-tip");
  v.tip.hidden = true;
  v.tip.setAttribute("role", "status");
  putInForce(v);
  const toolbar = makeToolbar(v);
  const board = makeBoard(v);
  showPlace(v, v.data.position);
  listenToPointers(v);
  return [toolbar, board, v.panesEl, v.tip];
}

async function decoded(pane) {
  try {
    await pane.image.decode();
  } catch {
    pane.broken = true;
    pane.image.hidden = true;
  }
}

function show(v, parts) {
  const focused = v.root.getRootNode().activeElement?.dataset?.action;
  v.root.replaceChildren(...parts);
  for (const pane of v.panes) if (pane.broken) paintPane(v, pane);
  arrange(v);
  layout(v);
  if (v.state.present !== v.root.matches(":popover-open")) raise(v);
  markSlots(v);
  paintAllTags(v);
  if (focused) v.tools[focused]?.focus({ preventScroll: true });
  v.sizes?.disconnect();
  v.sizes = new ResizeObserver(() => layout(v));
  v.sizes.observe(v.panesEl);
}
