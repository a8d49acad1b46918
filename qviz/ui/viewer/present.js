// Presenting: the viewer alone over the whole screen, in large type and without controls, for a projector. ← and →, a
// presenter's page keys and the space bar step through the images, the worst first; Esc or P ends it.
// A popover lies above everything else of the page; the full screen is asked for only where a hand did it, as browsers
// want, and a link with `present=1` does without.

const LARGE = [1.2, 1.7]; // times the usual size of labels on boxes, by the width of a pane
const WIDE = 520; // pixels of a pane whose labels have the usual size
const CAPTION = 44; // pixels at the usual type size, as in viewer.css
const TYPE = 14; // pixels of the page's usual type; larger on a 4K projector (style.css)

function typeScale() {
  return (parseFloat(getComputedStyle(document.documentElement).fontSize) || TYPE) / TYPE;
}

function labelScale(v) {
  return typeScale() * (v.state.present ? clamp(v.size.width / WIDE, ...LARGE) : 1);
}

function makeBoard(v) {
  const board = el("div", "qviz-board");
  v.boardPlace = el("span", "qviz-board-place");
  const legend = el("span", "qviz-board-legend");
  for (const change of v.data.variants.length ? CHANGES : []) {
    const entry = el("span", "", change);
    entry.dataset.change = change;
    entry.prepend(el("i", "qviz-sample"));
    legend.append(entry);
  }
  board.append(el("b", "qviz-board-name", v.data.image.name), v.boardPlace, legend, el("span", "qviz-board-hint", "← → images · Esc ends"));
  return board;
}

async function present(v, on) {
  choose(v, "present", on);
  if (!on && document.fullscreenElement) await document.exitFullscreen().catch(() => {});
  if (on) await document.documentElement.requestFullscreen?.().catch(() => {});
  raise(v); // what entered the top layer last is on top
}

// The browser keeps the Esc that ends its full screen to itself. Entering tells of itself too, and is no reason to leave.
function changedFullScreen(v) {
  if (v.state.present && v.full && !document.fullscreenElement) present(v, false);
  v.full = Boolean(document.fullscreenElement);
}

// Into the top layer, or out of it; drawing it twice changes nothing.
function raise(v) {
  const on = v.state.present;
  v.root.classList.toggle("is-presenting", on);
  if (v.root.popover && v.root.matches(":popover-open")) v.root.hidePopover();
  v.root.popover = on ? "manual" : null;
  if (on && v.root.isConnected) v.root.showPopover?.();
  v.onResize ??= () => v.state.present && v.panes && layout(v);
  v.onFull ??= () => changedFullScreen(v);
  const listen = on ? "addEventListener" : "removeEventListener";
  window[listen]("resize", v.onResize);
  document[listen]("fullscreenchange", v.onFull);
  if (v.panes && v.panesEl.isConnected) layout(v);
}

// The grid in which the image gets largest within the room that is left.
function presentedSize(v, count, whole) {
  const room = window.innerHeight - v.panesEl.getBoundingClientRect().top - 16;
  const { width: w, height: h } = v.data.image;
  const sizes = Array.from({ length: count }, (_, i) => {
    const columns = i + 1;
    const rows = Math.ceil(count / columns);
    const width = (whole - GAP * (columns - 1)) / columns;
    const height = (room - GAP * (rows - 1)) / rows - CAPTION * typeScale();
    return { columns, width, height: Math.max(height, 120), fit: Math.min(width / w, height / h) };
  });
  return bestGrid(sizes, count);
}
