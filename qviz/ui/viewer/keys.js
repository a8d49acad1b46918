// Keys: ← → image, S swipe, T ground truth, O lost outlines, P present, + − 0 zoom, Esc deselect. They are read from the
// document, so that they work before anything was clicked, but never taken from whatever else has the focus.

const INTERACTIVE = 'input, textarea, select, button, a[href], canvas, iframe, [contenteditable], [tabindex], [role="slider"]';

function listenToKeys(v) {
  if (v.onKey) return;
  v.onKey = (event) => onKey(v, event);
  document.addEventListener("keydown", v.onKey);
}

function stopListening(v) {
  document.removeEventListener("keydown", v.onKey);
  v.onKey = null;
}

function isOurs(v, event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (!v.root.isConnected || !v.panes || document.querySelector('[role="dialog"]')) return false;
  if (v.state.present) return true; // nothing else can be seen
  const path = event.composedPath();
  if (path.includes(v.root)) return !path[0].matches("input, select");
  return !path.some((node) => node instanceof Element && node !== document.body && node.matches(INTERACTIVE) && !isFrame(node));
}

// Streamlit makes its scrolling main area focusable; having the focus there means having it nowhere.
function isFrame(node) {
  return node.matches('[data-testid="stMain"], [data-testid="stApp"], [data-testid="stAppViewContainer"], [role="main"]');
}

function onKey(v, event) {
  if (!isOurs(v, event)) return;
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || action(v) === false) return;
  event.preventDefault();
}

const KEYS = {
  ArrowLeft: (v) => step(v, -1),
  ArrowRight: (v) => step(v, 1),
  s: (v) => v.data.variants.length > 0 && choose(v, "mode", otherMode(v)),
  o: (v) => v.data.variants.length > 0 && showOutlines(v, !v.outlines),
  t: (v) => Boolean(v.data.truth) && choose(v, "truth", !v.state.truth),
  p: (v) => v.data.view.present !== null && present(v, !v.state.present),
  PageUp: (v) => v.state.present && step(v, -1),
  PageDown: (v) => v.state.present && step(v, 1),
  " ": (v) => v.state.present && step(v, 1),
  0: (v) => resetZoom(v),
  "+": (v) => zoomAt(v, 1.25),
  "=": (v) => zoomAt(v, 1.25),
  "-": (v) => zoomAt(v, 0.8),
  Escape: (v) => (v.state.present ? present(v, false) : v.state.selected !== null && choose(v, "selected", null)),
};
