// Labels on boxes ("dog .62"): text of constant size over the stage, laid out anew at every zoom step.
// A label covers no other label and no head (the upper middle of a box, where a face is); where the whole text does not
// fit, a shorter one is tried, then none. In a crowd labels are only on what is pointed at or selected. Zooming in brings
// them back.

const MANY = 25; // boxes in sight
const FULL = 0.15; // share of the stage that all labels together may cover
const HEAD = { width: 0.6, height: 0.4 }; // of a box
const LARGE_BOX = 0.25; // of the stage: it has room for a label beside its head, which may be anywhere in it
const BRIEF = 9; // letters of a shortened label
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

// Greedy: each tag takes the first free place at its box, with its whole text or a shorter one; without one it is left
// out, unless it must stay. `frame` {left, top, right, bottom} is what can be seen, `heads` what stays uncovered.
function layTags(items, frame, heads) {
  const placed = [];
  for (const item of items) {
    const tag = roomFor(item, frame, [...placed, ...heads]) ?? (item.must ? { ...item, ...item.texts[0], ...places(item, item.texts[0], frame)[0] } : null);
    if (tag) placed.push(tag);
  }
  return placed;
}

function roomFor(item, frame, taken) {
  for (const text of item.texts) {
    const place = places(item, text, frame).find((at) => !taken.some((other) => overlap(at, other)));
    if (place) return { ...item, ...text, ...place };
  }
  return null;
}

function places({ x1, y1, x2, y2, height }, { width }, frame) {
  const outside = [[x1, y1 - height], [x2 - width, y1 - height], [x1, y2], [x2 - width, y2]];
  const inside = [[x1, y1], [x1, y2 - height], [x2 - width, y2 - height], [x2 - width, y1]];
  const fits = [...outside, ...inside].filter(([, y]) => y >= frame.top && y + height <= frame.bottom);
  const seen = fits.length ? fits : [[x1, clamp(y1, frame.top, frame.bottom - height)]];
  return seen.map(([x, y]) => ({ left: clamp(x, frame.left, Math.max(frame.left, frame.right - width)), top: y, width, height }));
}

function headsOf(items, width, height) {
  const small = items.filter(({ x1, y1, x2, y2 }) => (x2 - x1) * (y2 - y1) < LARGE_BOX * width * height);
  return small.map(({ x1, y1, x2, y2 }) => {
    const head = (x2 - x1) * HEAD.width;
    return { left: (x1 + x2 - head) / 2, top: y1, width: head, height: (y2 - y1) * HEAD.height };
  });
}

// The texts of a label, the longest first: "person 0.62", then without the class where all in sight have the same, else
// the class alone, cut.
function textsOf(v, pane, row, oneClass, scale) {
  const whole = tagText(v, pane, row);
  const own = pane.variant && row[1] >= 0 ? pane.variant.boxes[row[1]] : v.data.reference.boxes[row[0]];
  const brief = oneClass ? score(own[4]) : short(labelOf(v, own[5]), BRIEF);
  return [whole, brief].map((text) => ({ text, width: tagWidth(v, text) * scale }));
}

function isCrowd(items, width, height) {
  const covered = items.reduce((sum, item) => sum + item.texts[0].width * item.height, 0);
  return items.length > MANY || covered > FULL * width * height;
}

function hasOneClass(slots) {
  return new Set(slots.map(({ box }) => box[5])).size < 2;
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
  const slots = pane.shown.filter((slot) => !isOutline(pane, slot.row));
  const oneClass = hasOneClass(slots);
  const items = slots
    .map((slot) => ({ ...onStage(v, slot.box), slot, must: marked.has(slot), height: TAG_HEIGHT * v.tagScale }))
    .filter((at) => at.x2 > frame.left && at.x1 < frame.right && at.y2 > frame.top && at.y1 < frame.bottom);
  for (const item of items) item.texts = textsOf(v, pane, item.slot.row, oneClass, v.tagScale);
  const rank = ({ must, slot }) => (must ? -1 : URGENCY[slot.row[2]]);
  return items.sort((a, b) => rank(a) - rank(b) || b.slot.box[4] - a.slot.box[4]);
}

function paintTags(v, pane) {
  const frame = frameOf(v, pane);
  const items = tagItems(v, pane, frame);
  const size = [frame.right - frame.left, frame.bottom - frame.top];
  const labelled = isCrowd(items, ...size) ? items.filter((item) => item.must) : items;
  const placed = layTags(labelled, frame, headsOf(items, v.size.width, v.size.height));
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
  if (!v.shot) return; // before the picture is decoded
  for (const pane of visiblePanes(v)) paintTags(v, pane);
}
