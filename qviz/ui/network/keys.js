// The keyboard on the canvas: arrows move a mark along the network, Enter puts the marked operator in view.

const PAN_STEP = 60;

function listenToKeys(v) {
  v.canvas.addEventListener("keydown", (event) => {
    const act = actionOf(v, event);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  });
}

function actionOf(v, event) {
  if (event.altKey || ((event.ctrlKey || event.metaKey) && event.key !== "f")) return null;
  if (event.shiftKey && event.key.startsWith("Arrow")) return () => panWith(v, event.key);
  const marked = v.cursor ?? v.chosen;
  return (
    {
      ArrowDown: () => step(v, marked, (at) => v.net.after[at][0]),
      ArrowUp: () => step(v, marked, (at) => v.net.before[at][0]),
      ArrowRight: () => step(v, marked, (at) => at + 1),
      ArrowLeft: () => step(v, marked, (at) => at - 1),
      Enter: () => marked !== null && choose(v, marked),
      " ": () => marked !== null && click(v, { block: v.net.ops[marked].block, op: marked, title: false }, true),
      Escape: () => deselect(v),
      "+": () => zoomAt(v, 1.25),
      "=": () => zoomAt(v, 1.25),
      "-": () => zoomAt(v, 0.8),
      0: () => glideTo(v, v.fit),
      c: () => marked !== null && toggle(v, v.net.ops[marked].block),
      "/": () => v.search.focus(),
      f: () => v.search.focus(),
    }[event.key] ?? null
  );
}

function step(v, from, next) {
  const to = from === null ? 0 : next(from);
  if (to === undefined || to < 0 || to >= v.net.ops.length) return;
  v.cursor = to;
  setText(v.live, describe(v, to));
  if (!isSeen(v, to)) {
    const box = boxOf(v, to), { s } = v.camera;
    glideTo(v, { s, x: v.size.w / 2 - (box.x + box.w / 2) * s, y: v.size.h / 2 - (box.y + box.h / 2) * s });
  }
  requestPaint(v);
}

function panWith(v, key) {
  const dx = { ArrowLeft: PAN_STEP, ArrowRight: -PAN_STEP }[key] ?? 0;
  const dy = { ArrowUp: PAN_STEP, ArrowDown: -PAN_STEP }[key] ?? 0;
  moveTo(v, { s: v.camera.s, x: v.camera.x + dx, y: v.camera.y + dy });
}
