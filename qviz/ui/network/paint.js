// Painting, in world units under one transform. What would be too small to read is left out (`legible`), so that a frame
// of thousands of operators stays short: a far network is only its colours.

const LEGIBLE = 6.2; // pixels of type that are still worth drawing
const ROUND = 8; // pixels of a chip's height from which its corners are rounded: paths cost far more than rectangles
const NEAR = 1.2; // scale from which a chip shows number, value and name

function requestPaint(v) {
  v.frame ??= requestAnimationFrame(() => {
    v.frame = null;
    paint(v);
  });
}

function paint(v) {
  const { s, x, y } = v.camera, dpr = v.dpr, c = v.pen;
  const started = performance.now();
  c.setTransform(1, 0, 0, 1, 0, 0);
  c.fillStyle = v.theme.back;
  c.fillRect(0, 0, v.canvas.width, v.canvas.height);
  c.setTransform(dpr * s, 0, 0, dpr * s, dpr * x, dpr * y);
  const from = worldPoint(v, 0, 0), to = worldPoint(v, v.size.w, v.size.h);
  v.window = { x0: from.x, y0: from.y, x1: to.x, y1: to.y };
  paintFrames(v, c);
  paintLines(v, c);
  paintNeighbours(v, c);
  v.net.members.forEach((members, block) => paintBlock(v, c, members, block));
  paintMarks(v, c);
  paintRubber(v, c);
  v.paintMs = performance.now() - started;
  v.paints += 1;
}

function inWindow(v, box) {
  const { x0, y0, x1, y1 } = v.window;
  return box.x < x1 && box.x + box.w > x0 && box.y < y1 && box.y + box.h > y0;
}

function paintFrames(v, c) {
  c.lineWidth = 1 / v.camera.s;
  for (const block of v.layout.open) {
    const box = v.layout.boxes[block];
    if (v.net.members[block].length === 1 || !inWindow(v, box)) continue;
    c.fillStyle = v.theme.frame;
    c.strokeStyle = v.theme.edge;
    if (!rounded(v)) {
      c.fillRect(box.x, box.y, box.w, box.h);
      c.strokeRect(box.x, box.y, box.w, box.h);
      continue;
    }
    c.beginPath();
    c.roundRect(box.x, box.y, box.w, box.h, 5);
    c.fill();
    c.stroke();
  }
}

function rounded(v) {
  return CHIP.h * v.camera.s >= ROUND;
}

function paintLines(v, c) {
  c.strokeStyle = v.theme.line;
  c.lineWidth = clamp(1.2, 0.7 / v.camera.s, 2.2 / v.camera.s);
  c.beginPath();
  for (const route of v.layout.routes) trace(c, route.points, rounded(v));
  for (const block of v.layout.open) {
    // between operators of a few pixels there is no room for lines
    if (CHIP.h * v.camera.s < 3 || !inWindow(v, v.layout.boxes[block])) continue;
    for (const [a, b] of v.net.shapes[block].edges) inner(v, c, a, b);
  }
  c.stroke();
}

function trace(c, points, round = true) {
  c.moveTo(points[0].x, points[0].y);
  if (!round) return points.forEach(({ x, y }) => c.lineTo(x, y));
  for (let i = 1; i < points.length - 1; i += 1) c.arcTo(points[i].x, points[i].y, points[i + 1].x, points[i + 1].y, 4);
  const last = points[points.length - 1];
  return c.lineTo(last.x, last.y);
}

// Within a block: down to the next row; past others in the lane, along its right side.
function inner(v, c, a, b) {
  const [from, to] = [v.layout.chips[a], v.layout.chips[b]];
  if (!from || !to) return;
  const middle = CHIP.w / 2, skips = to.y - from.y > CHIP.row * 1.5;
  if (skips && from.x === to.x) {
    const x = from.x + CHIP.w, y = from.y + CHIP.h / 2, end = to.y + CHIP.h / 2;
    trace(c, [{ x, y }, { x: x + 3.5, y }, { x: x + 3.5, y: end }, { x, y: end }]);
    return;
  }
  const turn = to.y - (CHIP.row - CHIP.h) / 2;
  trace(c, [{ x: from.x + middle, y: from.y + CHIP.h }, { x: from.x + middle, y: turn }, { x: to.x + middle, y: turn }, { x: to.x + middle, y: to.y }]);
}

function paintBlock(v, c, members, block) {
  const box = v.layout.boxes[block];
  if (!inWindow(v, box)) return;
  if (members.length > 1 && !v.layout.open.has(block)) return paintCard(v, c, members, block, box);
  if (members.length > 1) paintTitle(v, c, block, box);
  for (const op of members) paintChip(v, c, op, v.layout.chips[op]);
}

function legible(v, world) {
  return world * v.camera.s >= LEGIBLE;
}

function setType(v, c, world, weight = "") {
  c.font = `${weight} ${world}px ${v.theme.font}`;
}

// As many letters of a name as fit at this size, its middle left out; bold ones are a little wider.
function fitText(v, text, width, size, bold = false) {
  return shortened(text, Math.floor(width / (size * v.theme.letter * (bold ? 1.12 : 1))));
}

function paintTitle(v, c, block, box) {
  const size = clamp(9.5 / v.camera.s, 9, 12.5);
  if (!legible(v, size)) return;
  setType(v, c, size);
  c.textBaseline = "middle";
  c.fillStyle = v.theme.quiet;
  c.textAlign = "left";
  const arrow = box.x + box.w - FRAME.side;
  c.fillText(fitText(v, v.net.blocks[block].name, box.w - FRAME.side - 13, size), box.x + FRAME.side - 2, box.y + FRAME.title / 2 + 1);
  paintArrow(c, arrow - 6, box.y + FRAME.title / 2, true);
}

function paintArrow(c, x, y, open) {
  c.beginPath();
  if (open) {
    c.moveTo(x, y - 2);
    c.lineTo(x + 6, y - 2);
    c.lineTo(x + 3, y + 2.5);
  } else {
    c.moveTo(x, y - 3);
    c.lineTo(x + 5, y);
    c.lineTo(x, y + 3);
  }
  c.fill();
}

function paintChip(v, c, op, at) {
  const row = v.net.ops[op], box = { ...at, w: CHIP.w, h: CHIP.h };
  if (!inWindow(v, box)) return;
  const value = valueOf(v, op), faded = v.matches && !v.matches.has(op);
  c.globalAlpha = faded ? 0.16 : 1;
  c.fillStyle = value === null ? v.theme.back : colourOf(v, value);
  if (!rounded(v)) {
    c.fillRect(box.x, box.y, box.w, box.h);
    if (value === null) hollow(v, c, row, box);
    c.globalAlpha = 1;
    return;
  }
  c.beginPath();
  c.roundRect(box.x, box.y, box.w, box.h, 3);
  c.fill();
  if (value === null) hollow(v, c, row);
  if (legible(v, 12)) paintChipText(v, c, row, box, value);
  c.globalAlpha = 1;
}

function hollow(v, c, row, box = null) {
  c.lineWidth = 1;
  c.strokeStyle = v.theme.line;
  if (box) return c.strokeRect(box.x, box.y, box.w, box.h);
  c.setLineDash(row.measured ? [] : [3, 2.5]);
  c.stroke();
  return c.setLineDash([]);
}

function paintChipText(v, c, row, box, value) {
  c.fillStyle = value === null ? v.theme.quiet : inkOver(v, value);
  c.textBaseline = "middle";
  if (v.camera.s < NEAR) {
    setType(v, c, 12);
    c.textAlign = "center";
    c.fillText(fitText(v, row.short, box.w - 3, 12), box.x + box.w / 2, box.y + box.h / 2 + 0.6);
    return;
  }
  setType(v, c, 7);
  c.textAlign = "right";
  if (value !== null) c.fillText(value.toFixed(1), box.x + box.w - 3.5, box.y + 6.2);
  c.textAlign = "left";
  const number = `${row.order} `, width = box.w - (value === null ? 5 : 21);
  const kind = fitText(v, row.short, width - number.length * 7 * v.theme.letter, 7);
  c.fillText(number + kind, box.x + 3.5, box.y + 6.2);
  setType(v, c, 5.6);
  c.textAlign = "left";
  c.fillText(fitText(v, row.tensor.split(";")[0], box.w - 6, 5.6), box.x + 3.5, box.y + 13.4);
}

function inkOver(v, value) {
  return (v.inks[colourOf(v, value)] ??= inkOn(`#${channelsOf(colourOf(v, value)).map((n) => n.toString(16).padStart(2, "0")).join("")}`));
}

function channelsOf(rgb) {
  return rgb.match(/\d+/g).map(Number);
}

// A folded block: its name, its worst value, and all of its operators as a band of colours, in the order of the file.
function paintCard(v, c, members, block, box) {
  const faded = v.matches && !members.some((op) => v.matches.has(op));
  const worst = worstOf(v, members);
  c.globalAlpha = faded ? 0.2 : 1;
  c.beginPath();
  c.roundRect(box.x, box.y, box.w, box.h, 5);
  c.fillStyle = v.theme.frame;
  c.fill();
  c.lineWidth = 1 / v.camera.s;
  c.strokeStyle = v.theme.edge;
  c.stroke();
  const wide = (box.w - 2 * FRAME.side) / members.length;
  members.forEach((op, i) => {
    const value = valueOf(v, op);
    c.fillStyle = value === null ? v.theme.line : colourOf(v, value);
    c.fillRect(box.x + FRAME.side + i * wide, box.y + 32, Math.max(wide - (wide > 3 ? 0.8 : 0), 0.5), 8);
  });
  if (legible(v, 10)) paintCardText(v, c, members, block, box, worst);
  c.globalAlpha = 1;
}

function paintCardText(v, c, members, block, box, worst) {
  c.textBaseline = "middle";
  c.textAlign = "left";
  c.fillStyle = v.theme.text;
  setType(v, c, 10, "600");
  c.fillText(fitText(v, v.net.blocks[block].name, box.w - 26, 10, true), box.x + FRAME.side, box.y + 10.5);
  paintArrow(c, box.x + box.w - FRAME.side - 5, box.y + 10, false);
  c.fillStyle = v.theme.quiet;
  setType(v, c, 8);
  const value = worst === null ? "" : figure(valueOf(v, worst));
  c.fillText(`${members.length} operators`, box.x + FRAME.side, box.y + 23);
  c.textAlign = "right";
  c.fillText(value, box.x + box.w - FRAME.side, box.y + 23);
}

// Who feeds the operator under the pointer (or in view) and who reads it.
function paintNeighbours(v, c) {
  const op = v.hovered ?? v.cursor ?? v.chosen;
  if (op === null) return;
  c.strokeStyle = v.theme.accent;
  c.lineWidth = clamp(1.8, 1.3 / v.camera.s, 2.6 / v.camera.s);
  c.beginPath();
  for (const other of v.net.before[op]) link(v, c, other, op);
  for (const other of v.net.after[op]) link(v, c, op, other);
  c.stroke();
}

function link(v, c, a, b) {
  const [from, to] = [v.net.ops[a].block, v.net.ops[b].block];
  if (from === to) return inner(v, c, a, b);
  const route = v.layout.routes.find((one) => one.a === from && one.b === to);
  if (route) trace(c, [...stub(v, a, from, route.points[0]), ...route.points, ...stub(v, b, to, route.points.at(-1)).reverse()]);
  return undefined;
}

// From the operator to the border of its block, where the block's line begins or ends.
function stub(v, op, block, border) {
  const chip = v.layout.chips[op];
  if (!chip || v.net.members[block].length === 1) return [];
  return [{ x: chip.x + CHIP.w / 2, y: border.y > chip.y ? chip.y + CHIP.h : chip.y }];
}

function paintMarks(v, c) {
  for (const op of v.net.outliers) ring(v, c, op, v.theme.ring, 1.6, 1.5);
  c.setLineDash([4, 3]);
  for (const op of v.net.refused) ring(v, c, op, v.theme.text, 1.6, 4);
  c.setLineDash([]);
  for (const op of v.selected) ring(v, c, op, v.theme.accent, 2.2, 2);
  if (v.cursor !== null) ring(v, c, v.cursor, v.theme.accent, 1.4, 5);
  if (v.hovered !== null && v.hovered !== v.chosen) ring(v, c, v.hovered, v.theme.text, 1.4, 1.5);
  if (v.chosen !== null) {
    ring(v, c, v.chosen, v.theme.back, 5, 3);
    ring(v, c, v.chosen, v.theme.text, 2.6, 3);
  }
}

function ring(v, c, op, colour, width, away) {
  const box = boxOf(v, op);
  if (!box || !inWindow(v, box)) return;
  const room = away * clamp(0.6 / v.camera.s, 0.5, 1.5);
  c.strokeStyle = colour;
  c.lineWidth = width * clamp(1, 0.75 / v.camera.s, 1.3 / v.camera.s);
  c.beginPath();
  c.roundRect(box.x - room, box.y - room, box.w + 2 * room, box.h + 2 * room, 4);
  c.stroke();
}

function paintRubber(v, c) {
  if (!v.rubber) return;
  const { x0, y0, x1, y1 } = v.rubber;
  c.strokeStyle = v.theme.accent;
  c.lineWidth = 1.5 / v.camera.s;
  c.setLineDash([5 / v.camera.s, 4 / v.camera.s]);
  c.strokeRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
  c.setLineDash([]);
}
