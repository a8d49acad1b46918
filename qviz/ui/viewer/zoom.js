// One camera for all panes: `v.camera` {zoom, u, v} with (u, v) the image point (0..1) at the middle of the stage.
// `v.shot` is what follows from it at the present size: image pixels to stage pixels.

const ZOOM_MOST = 40;
const GAP = 10; // between panes, as in viewer.css
const CLICK_SLACK = 4; // pixels a hand may tremble within a click
const NARROWEST = 200; // pixels of a pane beside another
const NEARLY = 0.6; // of the largest possible image

function homeCamera() {
  return { zoom: 1, u: 0.5, v: 0.5 };
}

function visiblePanes(v) {
  if (v.state.mode !== "swipe") return v.panes;
  const focus = focusOf(v);
  return v.panes.filter((pane) => !pane.variant || pane.variant === focus);
}

// Columns, the height of a stage, and the scale at which the image fits into it.
function layout(v) {
  const count = v.state.mode === "swipe" ? 1 : v.panes.length;
  const whole = v.panesEl.clientWidth;
  if (!whole) return;
  const { width: w, height: h } = v.data.image;
  const { columns, width, height } = v.state.present ? presentedSize(v, count, whole) : pageSize(v, count, whole);
  v.size = { width, height: Math.round(height) };
  v.tagScale = labelScale(v); // once a layout: asking the page for its type size lays it out
  v.root.style.setProperty("--labels", v.tagScale);
  v.fit = Math.min(v.size.width / w, v.size.height / h);
  v.panesEl.style.setProperty("--columns", columns);
  v.panesEl.style.setProperty("--stage", `${v.size.height}px`);
  shoot(v);
}

function pageSize(v, count, whole) {
  const sizes = Array.from({ length: count }, (_, i) => {
    const columns = i + 1;
    const width = (whole - GAP * (columns - 1)) / columns;
    const most = Math.min(window.innerHeight * (count > columns ? 0.42 : 0.55), 1200);
    const height = clamp((width * v.data.image.height) / v.data.image.width, 160, Math.max(most, 220));
    return { columns, width, height, fit: Math.min(width / v.data.image.width, height / v.data.image.height) };
  });
  const wide = sizes.filter(({ columns, width }) => columns === 1 || width >= NARROWEST);
  return bestGrid(wide.filter(({ columns }) => columns > 1 || count === 1 || wide.length === 1), count);
}

// The grid in which the image is largest; one without an empty cell wins where its images are nearly as large.
function bestGrid(sizes, count) {
  const largest = Math.max(...sizes.map(({ fit }) => fit));
  const full = sizes.filter(({ columns, fit }) => count % columns === 0 && fit >= NEARLY * largest);
  const choice = full.length ? full : sizes;
  return choice.reduce((best, size) => (size.fit > best.fit ? size : best));
}

// Settles the camera within the image and works out the shot.
function expose(v) {
  const { width: w, height: h } = v.data.image;
  const scale = v.fit * v.camera.zoom;
  v.camera.u = within(v.camera.u, v.size.width / (w * scale));
  v.camera.v = within(v.camera.v, v.size.height / (h * scale));
  v.shot = { scale, left: v.size.width / 2 - v.camera.u * w * scale, top: v.size.height / 2 - v.camera.v * h * scale };
}

function shoot(v) {
  if (!v.size) return;
  expose(v);
  for (const pane of v.panes) aim(v, pane);
  v.root.classList.toggle("is-zoomed", v.camera.zoom > 1);
  paintAllTags(v);
  paintZoom(v);
}

// Keeps the image over the stage; an axis that fits is centred.
function within(at, share) {
  return share >= 1 ? 0.5 : clamp(at, share / 2, 1 - share / 2);
}

function aim(v, pane) {
  const { width: w, height: h } = v.data.image;
  const { scale, left, top } = v.shot;
  pane.layer.style.width = `${w * v.fit}px`;
  pane.layer.style.height = `${h * v.fit}px`;
  pane.layer.style.transform = `translate(${left.toFixed(2)}px, ${top.toFixed(2)}px) scale(${v.camera.zoom.toFixed(4)})`;
  pane.world.setAttribute("transform", `matrix(${scale} 0 0 ${scale} ${left} ${top})`);
}

// Zooms so that the image point under (x, y), in stage pixels, stays there.
function zoomAt(v, factor, x = v.size.width / 2, y = v.size.height / 2) {
  const { scale, left, top } = v.shot;
  const point = { x: (x - left) / scale, y: (y - top) / scale };
  v.camera.zoom = clamp(v.camera.zoom * factor, 1, ZOOM_MOST);
  const next = v.fit * v.camera.zoom;
  v.camera.u = (point.x + (v.size.width / 2 - x) / next) / v.data.image.width;
  v.camera.v = (point.y + (v.size.height / 2 - y) / next) / v.data.image.height;
  scheduleShot(v);
}

function panBy(v, dx, dy) {
  v.camera.u -= dx / (v.shot.scale * v.data.image.width);
  v.camera.v -= dy / (v.shot.scale * v.data.image.height);
  scheduleShot(v);
}

function resetZoom(v) {
  v.camera = homeCamera();
  shoot(v);
}

// A wheel sends several events a frame. The shot is computed at once (the next event builds on it), drawn once.
function scheduleShot(v) {
  expose(v);
  if (v.frame) return;
  v.frame = requestAnimationFrame(() => {
    v.frame = null;
    shoot(v);
  });
}

function stagePoint(event) {
  const stage = event.target.closest?.(".qviz-stage");
  if (!stage) return null;
  const at = stage.getBoundingClientRect();
  return { x: event.clientX - at.left, y: event.clientY - at.top };
}

// A page must stay scrollable over the viewer: the plain wheel zooms only after the viewer was clicked or focused.
function onWheel(v, event) {
  const at = stagePoint(event);
  const ours = event.ctrlKey || event.metaKey || v.root.matches(":focus-within");
  const done = event.deltaY > 0 && v.camera.zoom <= 1;
  if (!at || !ours || (done && !event.ctrlKey)) return;
  event.preventDefault();
  const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
  // A pinch on a trackpad arrives as Ctrl and wheel in steps of a few pixels; a notch of a wheel is a hundred.
  const rate = event.ctrlKey && Math.abs(pixels) < 40 ? 0.01 : 0.0022;
  zoomAt(v, Math.exp(-clamp(pixels, -120, 120) * rate), at.x, at.y);
}

function listenToPointers(v) {
  const panes = v.panesEl;
  const grips = new Map(); // pointer id -> last point; two of them pinch
  let travelled = 0;
  panes.addEventListener("wheel", (event) => onWheel(v, event), { passive: false });
  panes.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.target.closest(".qviz-stage")) return;
    if (!grips.size) travelled = 0;
    grips.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  panes.addEventListener("pointermove", (event) => {
    if (!grips.has(event.pointerId)) return hoverAt(v, event);
    travelled += drag(v, panes, grips, event, travelled);
  });
  const release = (event) => {
    const held = grips.delete(event.pointerId);
    panes.classList.remove("is-dragging");
    if (held && event.type === "pointerup" && !grips.size && travelled <= CLICK_SLACK) clickAt(v, event);
  };
  panes.addEventListener("pointerup", release);
  panes.addEventListener("pointercancel", release);
  panes.addEventListener("pointerleave", () => hoverKey(v, null));
  panes.addEventListener("dblclick", (event) => stagePoint(event) && resetZoom(v));
}

function drag(v, panes, grips, event, travelled) {
  const before = grips.get(event.pointerId);
  const now = { x: event.clientX, y: event.clientY };
  const other = [...grips].find(([id]) => id !== event.pointerId)?.[1];
  const [dx, dy] = [now.x - before.x, now.y - before.y];
  grips.set(event.pointerId, now);
  if (!other && travelled + Math.hypot(dx, dy) <= CLICK_SLACK) return Math.hypot(dx, dy);
  hoverKey(v, null);
  panes.setPointerCapture(event.pointerId);
  panes.classList.add("is-dragging");
  if (other) pinch(v, panes, before, now, other);
  else panBy(v, dx, dy);
  return Math.hypot(dx, dy);
}

function pinch(v, panes, before, now, other) {
  const stage = visiblePanes(v)
    .map((pane) => pane.stage.getBoundingClientRect())
    .find((at) => other.x >= at.left && other.x <= at.right && other.y >= at.top && other.y <= at.bottom);
  if (!stage) return;
  const span = (a) => Math.max(Math.hypot(a.x - other.x, a.y - other.y), 1);
  zoomAt(v, span(now) / span(before), (now.x + other.x) / 2 - stage.left, (now.y + other.y) / 2 - stage.top);
  panBy(v, (now.x - before.x) / 2, (now.y - before.y) / 2);
}
