// Panes: an image with its boxes. A pane keeps one slot (an SVG group) for every box it could ever show and only
// shows or hides it, so that a threshold drag creates nothing.
// Slot ids: r<i> reference box, c<j> variant box, g<i> the outline of a lost reference box in a variant's pane.
// A pane shows what its model detects. Outlines are thin, have no label and are drawn on request (`outlines`) only.

const CROWD = 200; // more boxes than that: thin lines without casings, or the photograph drowns

function makePane(v, variant) {
  const source = variant ?? v.data.reference;
  const pane = { variant, colour: source.colour, name: source.name, shown: [] };
  pane.el = el("figure", "qviz-pane");
  pane.el.dataset.id = variant ? variant.id : "reference";
  pane.el.dataset.role = variant ? "variant" : "reference";
  pane.el.style.setProperty("--colour", source.colour);
  const caption = el("figcaption", "qviz-caption");
  pane.counts = el("span", "qviz-counts");
  caption.append(el("i", "qviz-swatch"), el("b", "qviz-name", source.name), pane.counts);
  pane.el.append(caption, makeStage(v, pane));
  return pane;
}

function makeStage(v, pane) {
  pane.stage = el("div", "qviz-stage");
  pane.stage.tabIndex = 0;
  pane.stage.setAttribute("role", "group");
  pane.stage.setAttribute("aria-label", `${pane.name}: ${v.data.image.name}`);
  pane.layer = el("div", "qviz-layer");
  pane.image = el("img", "qviz-image");
  pane.image.alt = "";
  pane.image.draggable = false;
  pane.image.src = v.data.image.src;
  pane.layer.append(pane.image);
  pane.tags = el("div", "qviz-tags");
  pane.empty = el("div", "qviz-empty");
  pane.stage.append(pane.layer, makeOverlay(v, pane), pane.tags, pane.empty);
  return pane.stage;
}

// The overlay is not scaled by CSS but by its own group: there `non-scaling-stroke` holds, and lines stay sharp at any zoom.
function makeOverlay(v, pane) {
  const overlay = svgEl("svg", { class: "qviz-overlay", "aria-hidden": "true" });
  pane.world = svgEl("g", { class: "qviz-world" });
  pane.slots = slotBoxes(v, pane).map(([id, box, shape]) => makeSlot(id, box, shape));
  pane.byId = new Map(pane.slots.map((slot) => [slot.id, slot]));
  const truth = svgEl("g", { class: "qviz-truth" });
  for (const box of v.data.truth ?? []) truth.append(line("qviz-case", box), line("qviz-line", box));
  // Under the boxes: where a detection agrees with the truth, the detection is what one wants to see.
  pane.world.append(truth, ...pane.slots.map((slot) => slot.g));
  overlay.append(pane.world);
  return overlay;
}

function slotBoxes(v, pane) {
  const reference = v.data.reference;
  const own = pane.variant ?? reference;
  const slots = own.boxes.map((box, i) => [`${pane.variant ? "c" : "r"}${i}`, box, own.shapes?.[i] ?? {}]);
  for (const i of pane.variant ? everLost(pane.variant) : []) {
    slots.push([`g${i}`, reference.boxes[i], { outline: reference.shapes?.[i]?.outline }]);
  }
  const area = ([, [x1, y1, x2, y2]]) => (x2 - x1) * (y2 - y1);
  // Large boxes first: what lies on top is what the pointer finds, and a small box must not hide under a large one.
  return slots.sort((a, b) => area(b) - area(a));
}

function everLost(variant) {
  const lost = new Set();
  for (const [, rows] of variant.steps) for (const row of rows) if (row[2] === "lost") lost.add(row[0]);
  return lost;
}

// Mask under the box, keypoints over it; a rotated box is drawn in place of the upright one around it.
function makeSlot(id, box, shape) {
  const g = svgEl("g", { class: "qviz-box" });
  g.style.display = "none";
  g.classList.toggle("is-outline", id.startsWith("g"));
  if (shape.mask) g.append(svgEl("path", { class: "qviz-mask", d: shape.mask }));
  g.append(line("qviz-case", box, shape.outline), line("qviz-line", box, shape.outline));
  for (const name of ["bones", "points"]) {
    if (shape[name]) g.append(svgEl("path", { class: `qviz-${name}`, d: shape[name] }));
  }
  return { id, box, shape, g, row: null, key: null };
}

function line(className, [x1, y1, x2, y2], outline) {
  if (outline) return svgEl("path", { class: className, d: outline });
  return svgEl("rect", { class: className, x: x1, y: y1, width: Math.max(x2 - x1, 0), height: Math.max(y2 - y1, 0) });
}

function slotId(pane, row) {
  if (!pane.variant) return `r${row[0]}`;
  return row[1] >= 0 ? `c${row[1]}` : `g${row[0]}`;
}

function isOutline(pane, row) {
  return Boolean(pane.variant) && row[1] < 0;
}

function paintPane(v, pane) {
  const variant = pane.variant ?? focusOf(v);
  const rows = indexOf(v, variant).rows.filter((row) => pane.variant || row[0] >= 0);
  const wanted = new Map();
  for (const row of rows) {
    if (passes(v, variant, row) && (v.outlines || !isOutline(pane, row))) wanted.set(slotId(pane, row), row);
  }
  pane.shown = pane.slots.filter((slot) => paintSlot(slot, wanted.get(slot.id) ?? null, variant));
  pane.el.classList.toggle("is-crowded", pane.shown.length > CROWD);
  paintCaption(v, pane, rows);
}

function paintSlot(slot, row, variant) {
  if (row === null) {
    if (slot.row !== null) slot.g.style.display = "none";
    slot.row = null;
    return false;
  }
  if (slot.row === null) slot.g.style.display = "";
  if (slot.row !== row) {
    slot.row = row;
    slot.key = keyOf(variant, row);
    setAttr(slot.g, "data-key", slot.key);
    setAttr(slot.g, "data-change", row[2]);
  }
  return true;
}

function paintCaption(v, pane, rows) {
  const objects = pane.variant ? rows.filter((row) => row[1] >= 0).length : rows.length;
  const parts = [plural(objects, "object")];
  for (const change of pane.variant ? ["lost", "spurious", "relabelled", "shifted"] : []) {
    const n = rows.filter((row) => row[2] === change).length;
    if (n) parts.push(`${n} ${change}`);
  }
  const shown = pane.shown.filter((slot) => !isOutline(pane, slot.row)).length;
  if (shown < objects) parts.push(`${shown} of ${objects} shown`);
  setText(pane.counts, parts.join(" · "));
  const empty = objects ? "hidden by the filters" : `no object above ${score(v.state.threshold)}`;
  setText(pane.empty, pane.broken ? "the image cannot be shown" : empty);
  pane.empty.hidden = !pane.broken && shown > 0;
}

function colourOf(pane, row) {
  if (!pane.variant) return pane.colour;
  return CHANGE_COLOURS[row[2]] ?? pane.colour;
}

// The same object in every pane: what to light up when one of them is pointed at.
function slotsOf(v, key) {
  const found = key ? rowOf(v, key) : null;
  if (!found) return [];
  return v.panes.flatMap((pane) => {
    const row = pane.variant === found.variant ? found.row : partnerRow(v, pane, found.row);
    const slot = row && pane.byId.get(slotId(pane, row));
    return slot?.row ? [{ pane, slot }] : [];
  });
}

function partnerRow(v, pane, row) {
  if (row[0] < 0) return null;
  return pane.variant ? v.force.get(pane.variant.id).byReference.get(row[0]) : row;
}

function markSlots(v) {
  for (const { slot } of v.marked ?? []) slot.g.classList.remove("is-selected", "is-hovered");
  const selected = slotsOf(v, v.state.selected);
  const hovered = slotsOf(v, v.hovered);
  for (const { slot } of selected) slot.g.classList.add("is-selected");
  for (const { slot } of hovered) slot.g.classList.add("is-hovered");
  v.marked = [...selected, ...hovered];
  v.root.classList.toggle("has-selection", selected.length > 0);
}
