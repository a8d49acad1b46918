// What happened to each object at a threshold: rows [reference index, variant index, change, IoU, reason].
// -1 stands for "no box". Nothing here touches the page.

const CHANGES = ["kept", "shifted", "relabelled", "lost", "spurious"];
const CHANGE_COLOURS = { shifted: "#f2b705", relabelled: "#a678de", lost: "#e0402a", spurious: "#f5821f" };
// For the PNG, in screen pixels; the page has the same in viewer.css.
const CHANGE_DASHES = { lost: [7, 5], spurious: [0.1, 5.5] };
const REASONS = {
  gone: "no candidate left in the head",
  threshold: "fell below the threshold",
  nms: "suppressed by NMS",
  unknown: "reason unknown",
};

function rowsAt(variant, threshold) {
  let rows = [];
  for (const [t, those] of variant.steps) {
    if (t > threshold + 1e-9) break;
    rows = those;
  }
  return rows;
}

// A lone reference has no changes; its boxes still obey the threshold.
function rowsOfReference(data, threshold) {
  return data.reference.boxes.flatMap((box, i) => (box[4] >= threshold ? [[i, -1, "kept", null, null]] : []));
}

// Rows in force, with an index by reference box, by variant box: the panes find each other's partners through these.
function indexRows(rows) {
  const index = { rows, byReference: new Map(), byVariant: new Map() };
  for (const row of rows) {
    if (row[0] >= 0) index.byReference.set(row[0], row);
    if (row[1] >= 0) index.byVariant.set(row[1], row);
  }
  return index;
}

function putInForce(v) {
  v.force = new Map(v.data.variants.map((one) => [one.id, indexRows(rowsAt(one, v.state.threshold))]));
  v.lone = v.data.variants.length ? null : indexRows(rowsOfReference(v.data, v.state.threshold));
}

function focusOf(v) {
  return v.data.variants.find((one) => one.id === v.state.focus) ?? v.data.variants[0] ?? null;
}

// The reference pane belongs to the focus variant: the filters by change apply to the pairs with it.
function indexOf(v, variant) {
  return variant ? v.force.get(variant.id) : v.lone;
}

function shownVariants(v) {
  const focus = focusOf(v);
  if (!focus) return [];
  return v.state.mode === "swipe" ? [focus] : v.data.variants;
}

function classesOf(v, variant, row) {
  const ids = [];
  if (row[0] >= 0) ids.push(v.data.reference.boxes[row[0]][5]);
  if (row[1] >= 0) ids.push(variant.boxes[row[1]][5]);
  return ids;
}

function passes(v, variant, row) {
  if (variant && !v.state.changes.has(row[2])) return false;
  return v.state.classes.size === 0 || classesOf(v, variant, row).some((id) => v.state.classes.has(id));
}

function keyOf(variant, row) {
  return `${variant ? variant.id : ""}:${row[0]}:${row[1]}`;
}

// A variant's id may itself hold a colon.
function parseKey(key) {
  const parts = key.split(":");
  const candidate = Number(parts.pop());
  const reference = Number(parts.pop());
  return { id: parts.join(":"), reference, candidate };
}

// The row a key speaks of *now*: after a threshold change the same object may be another row.
function rowOf(v, key) {
  const { id, reference, candidate } = parseKey(key);
  const variant = v.data.variants.find((one) => one.id === id) ?? null;
  const index = indexOf(v, variant);
  const row = reference >= 0 ? index?.byReference.get(reference) : index?.byVariant.get(candidate);
  return row ? { variant, row } : null;
}

function changeCounts(v) {
  const counts = Object.fromEntries(CHANGES.map((change) => [change, 0]));
  for (const variant of shownVariants(v)) {
    for (const row of v.force.get(variant.id).rows) counts[row[2]] += 1;
  }
  return counts;
}

// Objects a class has at this threshold: the reference's, and what the focus variant sees beyond them.
function classCounts(v) {
  const variant = focusOf(v);
  const counts = new Map();
  for (const row of indexOf(v, variant).rows) {
    const id = classesOf(v, variant, row)[0];
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

function classIds(data) {
  const boxes = [data.reference, ...data.variants].flatMap((one) => one.boxes);
  return [...new Set(boxes.map((box) => box[5]))];
}
