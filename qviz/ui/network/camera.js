// The camera {s, x, y}: a world point (wx, wy) is drawn at (wx * s + x, wy * s + y), in CSS pixels of the canvas.

const ZOOM_MOST = 6;
const EDGE = 10; // pixels between the picture and the canvas at "Fit"
const GLIDE_MS = 180;

function fitted(v) {
  const { w, h } = v.layout;
  const s = Math.min((v.size.w - 2 * EDGE) / w, (v.size.h - 2 * EDGE) / h, 1.6);
  return { s, x: (v.size.w - w * s) / 2, y: (v.size.h - h * s) / 2 };
}

// At least a third of the canvas shows the network.
function settled(v, { s, x, y }) {
  const [w, h] = [v.layout.w * s, v.layout.h * s];
  const within = (at, size, room) => (size <= room ? clamp(at, 0, room - size) : clamp(at, room * 0.67 - size, room * 0.33));
  return { s, x: within(x, w, v.size.w), y: within(y, h, v.size.h) };
}

function isFitted(v) {
  return v.camera.s <= v.fit.s * 1.001;
}

function moveTo(v, camera) {
  v.glide = null;
  v.camera = settled(v, camera);
  v.root.dataset.zoom = (v.camera.s / v.fit.s).toFixed(3);
  v.root.dataset.camera = [v.camera.s, v.camera.x, v.camera.y].map((n) => n.toFixed(3)).join(" ");
  requestPaint(v);
}

function zoomAt(v, factor, x = v.size.w / 2, y = v.size.h / 2) {
  const s = clamp(v.camera.s * factor, v.fit.s, Math.max(ZOOM_MOST, v.fit.s));
  if (s === v.fit.s) return moveTo(v, v.fit);
  const ratio = s / v.camera.s;
  return moveTo(v, { s, x: x - (x - v.camera.x) * ratio, y: y - (y - v.camera.y) * ratio });
}

function glideTo(v, target) {
  const goal = settled(v, target);
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return moveTo(v, goal);
  const start = performance.now(), from = { ...v.camera };
  const glide = (v.glide = (now) => {
    const part = clamp((now - start) / GLIDE_MS, 0, 1), ease = 1 - (1 - part) ** 3;
    const between = (name) => from[name] + (goal[name] - from[name]) * ease;
    moveTo(v, { s: between("s"), x: between("x"), y: between("y") });
    if (part < 1) {
      v.glide = glide;
      requestAnimationFrame((time) => v.glide === glide && glide(time));
    }
  });
  requestAnimationFrame(glide);
}

// Brings an operator into view, large enough to read.
function lookAt(v, op) {
  const box = boxOf(v, op);
  const s = Math.max(v.camera.s, Math.min(1.7, ZOOM_MOST));
  glideTo(v, { s, x: v.size.w / 2 - (box.x + box.w / 2) * s, y: v.size.h / 2 - (box.y + box.h / 2) * s });
}

function worldPoint(v, x, y) {
  return { x: (x - v.camera.x) / v.camera.s, y: (y - v.camera.y) / v.camera.s };
}

// The box of an operator: its chip, or the card of its folded block.
function boxOf(v, op) {
  const chip = v.layout.chips[op];
  return chip ? { x: chip.x, y: chip.y, w: CHIP.w, h: CHIP.h } : v.layout.boxes[v.net.ops[op].block];
}

function isSeen(v, op) {
  const box = boxOf(v, op), { s, x, y } = v.camera;
  return box.x * s + x > 0 && box.y * s + y > 0 && (box.x + box.w) * s + x < v.size.w && (box.y + box.h) * s + y < v.size.h;
}
