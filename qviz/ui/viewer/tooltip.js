// Pointing at a box: what each model says of this object, and its partners lit up in the other panes.

function boxAt(event) {
  return event.target.closest?.(".qviz-box")?.dataset.key ?? null;
}

function hoverAt(v, event) {
  hoverKey(v, boxAt(event), event.target.closest?.(".qviz-pane")?.dataset.role);
  if (v.hovered) placeTip(v, event);
}

function hoverKey(v, key, role) {
  const from = key && `${role} ${key}`;
  if (v.hoveredFrom === from) return;
  v.hoveredFrom = from;
  v.hovered = key;
  markSlots(v);
  if (v.shot) paintAllTags(v);
  v.tip.hidden = !key || !fillTip(v, key, role);
}

// Over the reference every variant answers; over a variant only that one does.
function fillTip(v, key, role) {
  const found = rowOf(v, key);
  if (!found) return false;
  const { row, variant } = found;
  const reference = row[0] >= 0 ? v.data.reference.boxes[row[0]] : null;
  const lines = [el("b", "qviz-tip-title", tipTitle(v, found))];
  if (reference) lines.push(tipLine(v.data.reference, reference[4], null));
  const others = role === "reference" ? shownVariants(v) : [variant].filter(Boolean);
  for (const one of others) {
    const own = row[0] >= 0 ? v.force.get(one.id).byReference.get(row[0]) : row;
    if (own) lines.push(...tipVariant(v, one, own, reference));
  }
  v.tip.replaceChildren(...lines);
  return true;
}

function tipTitle(v, { variant, row }) {
  const ids = [...new Set(classesOf(v, variant, row))];
  return ids.map((id) => short(labelOf(v, id), 40)).join(" → ");
}

function tipVariant(v, variant, row, reference) {
  const box = row[1] >= 0 ? variant.boxes[row[1]] : null;
  const difference = box && reference ? signed(box[4] - reference[4]) : "";
  const notes = [row[2] === "relabelled" ? `relabelled ${short(labelOf(v, box[5]))}` : row[2]];
  if (row[3] !== null) notes.push(`IoU ${score(row[3])}`);
  if (row[4]) notes.push(REASONS[row[4]] ?? row[4]);
  const note = el("span", "qviz-tip-note", notes.join(" · "));
  note.dataset.change = row[2];
  return [tipLine(variant, box?.[4] ?? null, difference), note];
}

function tipLine(model, confidence, difference) {
  const line = el("span", "qviz-tip-line");
  const swatch = el("i", "qviz-swatch");
  swatch.style.setProperty("--colour", model.colour);
  const value = el("b", "", confidence === null ? "—" : score(confidence));
  line.append(swatch, el("span", "qviz-tip-name", short(model.name, 28)), value, el("span", "qviz-tip-diff", difference ?? ""));
  return line;
}

function placeTip(v, event) {
  const root = v.root.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = v.tip;
  const [x, y] = [event.clientX - root.left, event.clientY - root.top];
  const left = x + 16 + width > root.width ? x - 16 - width : x + 16;
  const below = event.clientY + 18 + height < window.innerHeight;
  v.tip.style.transform = `translate(${Math.max(0, left)}px, ${below ? y + 18 : y - 12 - height}px)`;
}
