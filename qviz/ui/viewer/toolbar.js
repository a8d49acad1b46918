// The toolbar: made once for a rev, then only repainted. Its change chips are also the legend of the lines.

const FEW_CLASSES = 12;

function makeToolbar(v) {
  v.tools = { changes: new Map(), classes: new Map() };
  const top = el("div", "qviz-row");
  top.append(makeModes(v), makeFocus(v), makeThreshold(v), makeTruth(v), el("span", "qviz-space"), makeStrip(v), makeView(v));
  const filters = el("div", "qviz-row qviz-filters");
  filters.append(makeChanges(v), makeOutlines(v), makeClasses(v));
  const bar = el("div", "qviz-toolbar");
  bar.setAttribute("role", "toolbar");
  bar.setAttribute("aria-label", "Viewer");
  bar.append(top, filters);
  return bar;
}

function act(v, action, text, title, onClick) {
  const node = button("qviz-button", text, title, onClick);
  node.dataset.action = action;
  v.tools[action] = node;
  return node;
}

function makeModes(v) {
  const group = el("div", "qviz-segments");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Layout");
  const pick = (mode) => () => v.state.mode !== mode && choose(v, "mode", mode);
  group.append(act(v, "side", "Side by side", "Models beside each other (S)", pick("side")));
  group.append(act(v, "swipe", "Swipe", "Two models on top of each other, with a divider (S)", pick("swipe")));
  group.hidden = v.data.variants.length === 0;
  return group;
}

function makeFocus(v) {
  const select = el("select", "qviz-focus");
  select.setAttribute("aria-label", "Variant under the divider");
  for (const variant of v.data.variants) {
    const option = el("option", "", short(variant.name, 32));
    option.value = variant.id;
    select.append(option);
  }
  select.addEventListener("change", () => choose(v, "focus", select.value));
  v.tools.focus = select;
  return select;
}

function makeThreshold(v) {
  const label = el("label", "qviz-score");
  const slider = el("input", "qviz-threshold");
  Object.assign(slider, { type: "range", min: v.data.view.floor, max: 0.95, step: 0.01 });
  slider.addEventListener("input", () => {
    v.state.threshold = Number(slider.value);
    paintBoxes(v);
  });
  slider.addEventListener("change", () => tell(v, "threshold"));
  v.tools.threshold = slider;
  v.tools.reading = el("output", "qviz-reading");
  label.append(el("span", "", "Score ≥"), slider, v.tools.reading);
  return label;
}

function makeTruth(v) {
  const node = act(v, "truth", "Ground truth", "Ground truth (T)", () => choose(v, "truth", !v.state.truth));
  node.hidden = v.data.truth === null || v.data.truth === undefined;
  return node;
}

function makeOutlines(v) {
  const hint = "Thin outlines of the reference's objects that a variant does not detect (O)";
  const node = button("qviz-chip", "Lost outlines", hint, () => showOutlines(v, !v.outlines));
  v.tools.outlines = node;
  node.hidden = v.data.variants.length === 0;
  return node;
}

function showOutlines(v, on) {
  v.outlines = on;
  paintBoxes(v);
}

function makeStrip(v) {
  const group = el("div", "qviz-strip");
  const name = el("span", "qviz-file", v.data.image.name);
  name.title = v.data.image.name;
  name.hidden = v.data.view.present === null; // where the page itself chooses the one image, it stands there
  const previous = act(v, "previous", "‹", "Previous image (←)", () => step(v, -1));
  const next = act(v, "next", "›", "Next image (→)", () => step(v, 1));
  previous.setAttribute("aria-label", "Previous image");
  next.setAttribute("aria-label", "Next image");
  v.tools.place = el("span", "qviz-place");
  v.tools.steps = [previous, v.tools.place, next];
  group.append(name, ...v.tools.steps);
  return group;
}

// The strip is ordered by damage and reorders while images are run: no reason to build the viewer anew.
function showPlace(v, position) {
  const { index, count } = position ?? { index: 0, count: 1 };
  v.tools.place.textContent = `${index + 1} / ${count}`;
  for (const node of v.tools.steps) node.hidden = count < 2;
  setText(v.boardPlace, count < 2 ? "" : `${index + 1} / ${count}`);
}

function makeView(v) {
  const group = el("div", "qviz-view");
  const hint = "Reset zoom (0 or double click). Zoom: Ctrl and wheel, wheel after a click on the image, + and −";
  group.append(act(v, "reset", "100%", hint, () => resetZoom(v)));
  const wide = "Full screen in large type (P). ← and → step through the images, Esc ends";
  group.append(act(v, "present", "Present", wide, () => present(v, true)));
  v.tools.present.hidden = v.data.view.present === null;
  group.append(act(v, "png", "PNG", "Download this view as an image", () => downloadPng(v)));
  return group;
}

function makeChanges(v) {
  const group = el("div", "qviz-chips");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Changes shown");
  group.hidden = v.data.variants.length === 0;
  for (const change of CHANGES) {
    const onClick = () => choose(v, "changes", toggled(v.state.changes, change));
    group.append(makeChip(v.tools.changes, change, change, onClick, el("i", "qviz-sample")));
    v.tools.changes.get(change).node.dataset.change = change;
  }
  return group;
}

function makeClasses(v) {
  const group = el("div", "qviz-chips qviz-classes");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Classes shown");
  const counts = classCounts(v);
  const ids = classIds(v.data).sort((a, b) => (counts.get(b) ?? 0) - (counts.get(a) ?? 0) || a - b);
  for (const id of ids) {
    const label = labelOf(v, id);
    const chip = makeChip(v.tools.classes, id, label, () => choose(v, "classes", toggled(v.state.classes, id)));
    chip.dataset.classId = id;
    chip.title = label;
    group.append(chip);
  }
  if (ids.length > FEW_CLASSES + 1) group.append(makeMore(v, group, ids.length - FEW_CLASSES));
  return group;
}

function makeMore(v, group, hidden) {
  const more = button("qviz-chip qviz-more", "", "", () => {
    v.unfolded = !v.unfolded;
    paint();
  });
  const paint = () => {
    group.classList.toggle("is-folded", !v.unfolded);
    more.setAttribute("aria-expanded", String(Boolean(v.unfolded)));
    setText(more, v.unfolded ? "fewer" : `+${hidden} more`);
  };
  paint();
  return more;
}

function makeChip(register, key, text, onClick, sample = null) {
  const node = button("qviz-chip", "", "", onClick);
  const count = el("span", "qviz-count");
  if (sample) node.append(sample);
  node.append(el("span", "qviz-chip-text", text), count);
  register.set(key, { node, count });
  return node;
}

function paintToolbar(v) {
  const { tools, state } = v;
  setAttr(tools.side, "aria-pressed", String(state.mode === "side"));
  setAttr(tools.swipe, "aria-pressed", String(state.mode === "swipe"));
  setAttr(tools.truth, "aria-pressed", String(state.truth));
  setAttr(tools.outlines, "aria-pressed", String(Boolean(v.outlines)));
  v.root.classList.toggle("has-truth", state.truth);
  tools.focus.hidden = state.mode !== "swipe" || v.data.variants.length < 2;
  tools.focus.value = focusOf(v)?.id ?? "";
  if (Number(tools.threshold.value) !== state.threshold) tools.threshold.value = state.threshold;
  setText(tools.reading, state.threshold.toFixed(2));
  paintChips(tools.changes, changeCounts(v), (change) => state.changes.has(change));
  const counts = Object.fromEntries(classCounts(v));
  paintChips(tools.classes, counts, (id) => state.classes.has(id));
  v.root.classList.toggle("has-classes", state.classes.size > 0);
}

function paintChips(register, counts, pressed) {
  for (const [key, { node, count }] of register) {
    const n = counts[key] ?? 0;
    setText(count, String(n));
    setAttr(node, "aria-pressed", String(pressed(key)));
    node.classList.toggle("is-none", n === 0);
  }
}

function paintZoom(v) {
  setText(v.tools.reset, `${Math.round(v.camera.zoom * 100)}%`);
  v.tools.reset.disabled = v.camera.zoom === 1;
}
