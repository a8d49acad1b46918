// Swipe: reference and focus variant lie over each other, each clipped at the divider. `v.cut` is its place, 0..1.

function makeDivider(v) {
  const divider = el("div", "qviz-divider");
  divider.tabIndex = 0;
  divider.setAttribute("role", "slider");
  divider.setAttribute("aria-label", "Divider between the reference and the variant");
  divider.setAttribute("aria-valuemin", "0");
  divider.setAttribute("aria-valuemax", "100");
  divider.append(el("i", "qviz-grip"));
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const at = v.panesEl.getBoundingClientRect();
    cutAt(v, (event.clientX - at.left) / at.width);
  });
  divider.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation(); // here the arrows move the divider, not the image strip
    cutAt(v, v.cut + by);
  });
  return divider;
}

function cutAt(v, share) {
  v.cut = clamp(share, 0, 1);
  v.panesEl.style.setProperty("--cut", `${(v.cut * 100).toFixed(2)}%`);
  v.divider.setAttribute("aria-valuenow", String(Math.round(v.cut * 100)));
  if (v.shot && v.state.mode === "swipe") paintAllTags(v);
}

function arrange(v) {
  const shown = new Set(visiblePanes(v));
  for (const pane of v.panes) pane.el.hidden = !shown.has(pane);
  v.root.dataset.mode = v.state.mode;
  v.divider.hidden = v.state.mode !== "swipe" || shown.size < 2;
  cutAt(v, v.divider.hidden && v.state.mode === "swipe" ? 1 : v.cut);
}
