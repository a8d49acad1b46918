// The view as a PNG: every pane at the image's own resolution with its caption, filters as on the screen, without zoom.

const PNG_WIDEST = 4096;
const PNG_GAP = 12;
const PNG_HEAD = 34;

async function downloadPng(v) {
  const canvas = await drawView(v);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const link = el("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${v.data.image.name.replace(/\.[^.]+$/, "")}_qviz.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function drawView(v) {
  const panes = visiblePanes(v);
  const { width: w, height: h } = v.data.image;
  const columns = panes.length <= 3 ? panes.length : Math.ceil(panes.length / 2);
  const rows = Math.ceil(panes.length / columns);
  const widest = (PNG_WIDEST - PNG_GAP * (columns + 1)) / columns;
  const scale = Math.min(Math.max(1, 480 / w), widest / w);
  const cell = { width: Math.round(w * scale), height: Math.round(h * scale), scale };
  const canvas = el("canvas");
  canvas.width = columns * (cell.width + PNG_GAP) + PNG_GAP;
  canvas.height = rows * (cell.height + PNG_HEAD + PNG_GAP);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  panes.forEach((pane, i) => {
    const left = PNG_GAP + (i % columns) * (cell.width + PNG_GAP);
    drawPane(v, pen, pane, cell, left, Math.floor(i / columns) * (cell.height + PNG_HEAD + PNG_GAP));
  });
  return canvas;
}

function drawPane(v, pen, pane, cell, left, top) {
  pen.save();
  pen.translate(left, top);
  pen.fillStyle = pane.colour;
  pen.fillRect(0, 11, 12, 12);
  pen.fillStyle = "#1d2129";
  pen.textBaseline = "middle";
  pen.font = `600 14px ${v.font}`;
  const caption = `${short(pane.name, 40)}   ${pane.counts.textContent}   score ≥ ${v.state.threshold.toFixed(2)}`;
  pen.fillText(caption, 19, 17, cell.width - 19);
  pen.translate(0, PNG_HEAD);
  pen.beginPath();
  pen.rect(0, 0, cell.width, cell.height);
  pen.clip();
  if (pane.broken) pen.fillRect(0, 0, cell.width, cell.height);
  else pen.drawImage(pane.image, 0, 0, cell.width, cell.height);
  drawBoxes(v, pen, pane, cell);
  pen.restore();
}

function drawBoxes(v, pen, pane, cell) {
  const weight = Math.max(1, cell.width / 900); // lines as thick in a large picture as they look on the screen
  for (const box of v.state.truth ? v.data.truth ?? [] : []) {
    drawBox(pen, box, cell.scale, "#000", 3 * weight, []);
    drawBox(pen, box, cell.scale, "#fff", 1.2 * weight, []);
  }
  for (const { box, shape, row } of pane.shown) {
    const dashes = pane.variant ? CHANGE_DASHES[row[2]] ?? [] : [];
    if (isOutline(pane, row)) {
      drawBox(pen, box, cell.scale, colourOf(pane, row), weight, [3 * weight, 3 * weight], shape.outline);
      continue;
    }
    const colour = colourOf(pane, row);
    if (pane.shown.length <= CROWD) drawBox(pen, box, cell.scale, "rgba(0,0,0,.5)", 4 * weight, [], shape.outline);
    drawBox(pen, box, cell.scale, colour, (row[2] === "spurious" ? 3 : 2) * weight, dashes.map((d) => d * weight), shape.outline);
    drawShape(pen, shape, cell.scale, pane.colour, weight);
  }
  drawTags(v, pen, pane, cell, weight);
}

// outline: the path of a rotated box, which is drawn in place of the upright one.
function drawBox(pen, [x1, y1, x2, y2], scale, colour, width, dashes, outline) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.lineCap = dashes.length && dashes[0] < 1 ? "round" : "butt";
  pen.setLineDash(dashes);
  if (outline) pen.stroke(scaledPath(outline, scale));
  else pen.strokeRect(x1 * scale, y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale);
}

function drawShape(pen, shape, scale, colour, weight) {
  pen.strokeStyle = pen.fillStyle = colour;
  pen.setLineDash([]);
  pen.lineCap = "round";
  if (shape.mask) {
    pen.globalAlpha = 0.32;
    pen.fill(scaledPath(shape.mask, scale), "evenodd");
    pen.globalAlpha = 1;
  }
  for (const [name, width] of [["bones", 2], ["points", 6]]) {
    if (!shape[name]) continue;
    pen.lineWidth = width * weight;
    pen.stroke(scaledPath(shape[name], scale));
  }
}

function scaledPath(path, scale) {
  const scaled = new Path2D();
  scaled.addPath(new Path2D(path), new DOMMatrix([scale, 0, 0, scale, 0, 0]));
  return scaled;
}

function drawTags(v, pen, pane, cell, weight) {
  const slots = pane.shown.filter(({ row }) => !isOutline(pane, row));
  const oneClass = hasOneClass(slots);
  const items = slots.map(({ box, row }) => {
    const [x1, y1, x2, y2] = box.slice(0, 4).map((x) => x * cell.scale);
    return { x1, y1, x2, y2, row, texts: textsOf(v, pane, row, oneClass, weight), height: TAG_HEIGHT * weight };
  });
  if (isCrowd(items, cell.width, cell.height)) return;
  items.sort((a, b) => URGENCY[a.row[2]] - URGENCY[b.row[2]]);
  pen.font = `600 ${TAG_SIZE * weight}px ${v.font}`;
  const frame = { left: 0, top: 0, right: cell.width, bottom: cell.height };
  for (const at of layTags(items, frame, headsOf(items, cell.width, cell.height))) {
    pen.fillStyle = colourOf(pane, at.row);
    pen.fillRect(at.left, at.top, at.width, at.height);
    pen.fillStyle = inkOn(colourOf(pane, at.row));
    pen.fillText(at.text, at.left + 4.5 * weight, at.top + at.height / 2);
  }
}
