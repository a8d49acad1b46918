// Labels on boxes ("dog .62"): text of constant size over the stage, laid out anew at every zoom step.
// More than MANY boxes in sight: labels only on what is pointed at or selected. Zooming in brings them back.

const MANY = 25;
const TAG_HEIGHT = 17;
const TAG_SIZE = 12;
const URGENCY = { lost: 0, spurious: 1, relabelled: 2, shifted: 3, kept: 4 };
const TAG_PEN = document.createElement("canvas").getContext("2d");
const TAG_WIDTHS = new Map();

function tagText(v, pane, row) {
  const reference = row[0] >= 0 ? v.data.reference.boxes[row[0]] : null;
  const own = pane.variant && row[1] >= 0 ? pane.variant.boxes[row[1]] : reference;
  const text = `${short(labelOf(v, own[5]))} ${score(own[4])}`;
  if (row[2] === "relabelled" && pane.variant) return `${short(labelOf(v, reference[5]))} → ${text}`;
  return text;
}

// Measured on a canvas: asking the page for the width of a chip would lay it out again for every chip.
function tagWidth(v, text) {
  const key = `${v.font} ${text}`;
  if (!TAG_WIDTHS.has(key)) {
    if (TAG_WIDTHS.size > 5000) TAG_WIDTHS.clear();
    TAG_PEN.font = `600 ${TAG_SIZE}px ${v.font}`;
    TAG_WIDTHS.set(key, Math.ceil(TAG_PEN.measureText(text).width) + 9);
  }
  return TAG_WIDTHS.get(key);
}

// Greedy: each tag takes the first free place at its box, above first; without one it is left out, unless it must stay.
// `frame` {left, top, right, bottom} is what can be seen.
function layTags(items, frame) {
  const placed = [];
  for (const item of items) {
    const free = places(item, frame).find((place) => !placed.some((other) => overlap(place, other)));
    const place = free ?? (item.must ? places(item, frame)[0] : null);
    if (place) placed.push({ ...item, ...place });
  }
  return placed;
}

function places({ x1, y1, x2, y2, width, height }, frame) {
  const corners = [[x1, y1 - height], [x1, y1], [x2 - width, y1 - height], [x1, y2], [x1, y2 - height], [x2 - width, y2]];
  const fits = corners.filter(([, y]) => y >= frame.top && y + height <= frame.bottom);
  const inside = fits.length ? fits : [[x1, clamp(y1, frame.top, frame.bottom - height)]];
  return inside.map(([x, y]) => ({ left: clamp(x, frame.left, Math.max(frame.left, frame.right - width)), top: y, width, height }));
}

function overlap(a, b) {
  return a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height;
}

function frameOf(v, pane) {
  const frame = { left: 0, top: 0, right: v.size.width, bottom: v.size.height };
  if (v.state.mode === "swipe") frame[pane.variant ? "left" : "right"] = v.cut * v.size.width;
  return frame;
}

function onStage(v, [x1, y1, x2, y2]) {
  const { scale, left, top } = v.shot;
  return { x1: x1 * scale + left, y1: y1 * scale + top, x2: x2 * scale + left, y2: y2 * scale + top };
}

function tagItems(v, pane, frame) {
  const marked = new Set((v.marked ?? []).map(({ slot }) => slot));
  const seen = pane.shown
    .filter((slot) => !isOutline(pane, slot.row))
    .map((slot) => ({ ...onStage(v, slot.box), slot, must: marked.has(slot) }))
    .filter((at) => at.x2 > frame.left && at.x1 < frame.right && at.y2 > frame.top && at.y1 < frame.bottom);
  const items = seen.length > MANY ? seen.filter((item) => item.must) : seen;
  const rank = ({ must, slot }) => (must ? -1 : URGENCY[slot.row[2]]);
  items.sort((a, b) => rank(a) - rank(b) || b.slot.box[4] - a.slot.box[4]);
  for (const item of items) {
    item.text = tagText(v, pane, item.slot.row);
    item.width = tagWidth(v, item.text) * v.tagScale;
    item.height = TAG_HEIGHT * v.tagScale;
  }
  return items;
}

function paintTags(v, pane) {
  const frame = frameOf(v, pane);
  const placed = layTags(tagItems(v, pane, frame), frame);
  while (pane.tags.childElementCount < placed.length) pane.tags.append(el("span", "qviz-tag"));
  [...pane.tags.children].forEach((chip, i) => paintTag(pane, chip, placed[i]));
}

function paintTag(pane, chip, at) {
  chip.hidden = !at;
  if (!at) return;
  const colour = colourOf(pane, at.slot.row);
  setText(chip, at.text);
  chip.dataset.key = at.slot.key;
  chip.classList.toggle("is-raised", at.must);
  chip.style.transform = `translate(${Math.round(at.left)}px,${Math.round(at.top)}px)`;
  chip.style.backgroundColor = colour;
  chip.style.color = inkOn(colour);
}

function paintAllTags(v) {
  for (const pane of visiblePanes(v)) paintTags(v, pane);
}
