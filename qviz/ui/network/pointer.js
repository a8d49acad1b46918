// Mouse, pen and fingers: click, drag, box, wheel, pinch.

const SLACK = 4; // pixels a hand may tremble within a click
const TWICE_MS = 350;

function pointOf(v, event) {
  const at = v.canvas.getBoundingClientRect();
  return { x: event.clientX - at.left, y: event.clientY - at.top };
}

function listenToPointer(v) {
  const on = (name, act, options) => v.canvas.addEventListener(name, act, options);
  v.grips = new Map();
  on("pointerdown", (event) => down(v, event));
  on("pointermove", (event) => move(v, event));
  on("pointerup", (event) => up(v, event));
  on("pointercancel", () => (v.grips.clear(), (v.drag = null), (v.rubber = null), requestPaint(v)));
  on("pointerleave", () => hover(v, null));
  on("wheel", (event) => wheel(v, event), { passive: false });
}

function down(v, event) {
  if (event.button > 0) return;
  v.canvas.focus({ preventScroll: true });
  v.canvas.setPointerCapture(event.pointerId);
  const at = pointOf(v, event);
  v.grips.set(event.pointerId, at);
  v.drag = { at, moved: false, box: event.shiftKey, adds: event.ctrlKey || event.metaKey };
}

function move(v, event) {
  const at = pointOf(v, event), before = v.grips.get(event.pointerId);
  if (!before || !v.drag) return hover(v, targetAt(v, worldPoint(v, at.x, at.y)), at);
  if (v.grips.size === 2) return pinch(v, event.pointerId, at);
  if (!v.drag.moved && Math.hypot(at.x - v.drag.at.x, at.y - v.drag.at.y) < SLACK) return undefined;
  v.drag.moved = true;
  v.grips.set(event.pointerId, at);
  hover(v, null);
  if (v.drag.box) {
    const [a, b] = [worldPoint(v, v.drag.at.x, v.drag.at.y), worldPoint(v, at.x, at.y)];
    v.rubber = { x0: a.x, y0: a.y, x1: b.x, y1: b.y };
    return requestPaint(v);
  }
  v.canvas.classList.add("is-dragged");
  return moveTo(v, { s: v.camera.s, x: v.camera.x + at.x - before.x, y: v.camera.y + at.y - before.y });
}

function pinch(v, id, at) {
  const [a, b] = [...v.grips.values()];
  v.grips.set(id, at);
  const [c, d] = [...v.grips.values()];
  v.drag.moved = true;
  const span = (p, q) => Math.max(Math.hypot(p.x - q.x, p.y - q.y), 1);
  zoomAt(v, span(c, d) / span(a, b), (c.x + d.x) / 2, (c.y + d.y) / 2);
}

function up(v, event) {
  const drag = v.drag, last = v.grips.size === 1;
  v.grips.delete(event.pointerId);
  if (!drag || !last) return;
  v.drag = null;
  v.canvas.classList.remove("is-dragged");
  if (v.rubber) {
    selectWithin(v, v.rubber, drag.adds);
    v.rubber = null;
    requestPaint(v);
  } else if (!drag.moved) clicked(v, drag, event);
}

function clicked(v, drag, event) {
  const world = worldPoint(v, drag.at.x, drag.at.y), hit = targetAt(v, world);
  const twice = v.lastClick && event.timeStamp - v.lastClick.time < TWICE_MS && hit && v.lastClick.block === hit.block;
  v.lastClick = { time: event.timeStamp, block: hit?.block };
  v.cursor = null;
  const onArrow = hit && hit.op === null && v.net.members[hit.block].length > 1 && overArrow(v, hit.block, world);
  if (onArrow || (twice && v.net.members[hit.block].length > 1)) {
    v.lastClick = null;
    return toggle(v, hit.block);
  }
  return click(v, hit, event.ctrlKey || event.metaKey || event.shiftKey);
}

function overArrow(v, block, { x, y }) {
  const box = v.layout.boxes[block];
  return x > box.x + box.w - 20 && y < box.y + 20;
}

function hover(v, hit, at) {
  const op = hit ? hit.op : null;
  v.canvas.style.cursor = hit && (meantBy(v, hit).length || hit.op === null) ? "pointer" : "";
  if (op !== v.hovered) {
    v.hovered = op;
    requestPaint(v);
  }
  showTip(v, hit, at);
}

// At "Fit", a wheel that would zoom out scrolls the page.
function wheel(v, event) {
  if (event.deltaY > 0 && isFitted(v) && !event.ctrlKey) return;
  event.preventDefault();
  const at = pointOf(v, event), pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
  // A pinch on a trackpad arrives as Ctrl and wheel in steps of a few pixels; a notch of a wheel is a hundred.
  const rate = event.ctrlKey && Math.abs(pixels) < 40 ? 0.01 : 0.0022;
  zoomAt(v, Math.exp(-clamp(pixels, -120, 120) * rate), at.x, at.y);
  showTip(v, null);
}
