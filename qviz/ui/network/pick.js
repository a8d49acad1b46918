// What is in view (`v.chosen`), what is selected (`v.selected`) and what is under the pointer (`v.hovered`): operators,
// by position. Only measured operators are chosen or selected. Each change by the user is reported as one `pick`.

function valueOf(v, op) {
  return v.net.ops[op].values[v.metric];
}

function worstOf(v, members) {
  let worst = null;
  for (const op of members) if (valueOf(v, op) !== null && (worst === null || valueOf(v, op) < valueOf(v, worst))) worst = op;
  return worst;
}

// {block, op, title}: what lies at a point of the world; op is null on a frame or a card.
function targetAt(v, { x, y }) {
  const within = (box) => x >= box.x - 1 && x <= box.x + box.w + 1 && y >= box.y - 1 && y <= box.y + box.h + 1;
  const block = v.layout.boxes.findIndex(within);
  if (block < 0) return null;
  const members = v.net.members[block];
  if (members.length === 1) return { block, op: members[0], title: false };
  if (!v.layout.open.has(block)) return { block, op: null, title: false };
  const box = v.layout.boxes[block];
  const op = members.find((one) => within({ ...v.layout.chips[one], w: CHIP.w, h: CHIP.h })) ?? null;
  return { block, op, title: op === null && y < box.y + FRAME.title };
}

// Which operators a click there means: the operator, all of a block by its title, the worst of a folded block.
function meantBy(v, hit) {
  if (!hit) return [];
  if (hit.op !== null) return v.net.ops[hit.op].measured ? [hit.op] : [];
  const members = v.net.members[hit.block].filter((op) => v.net.ops[op].measured);
  return hit.title || !v.layout.open.has(hit.block) ? members : [];
}

function click(v, hit, adds) {
  const meant = meantBy(v, hit);
  if (!hit && !adds) return;
  if (!meant.length) return;
  if (adds) {
    const all = meant.every((op) => v.selected.has(op));
    for (const op of meant) if (all) v.selected.delete(op);
    else v.selected.add(op);
  } else v.selected = new Set(hit.title ? meant : [hit.op ?? worstOf(v, meant) ?? meant[0]]);
  if (!adds || v.chosen === null) v.chosen = hit.op ?? worstOf(v, meant) ?? meant[0];
  // the operator in view is always one of the selected
  if (!v.selected.size) v.selected.add(v.chosen);
  else if (!v.selected.has(v.chosen)) [v.chosen] = v.selected;
  report(v);
}

function choose(v, op) {
  if (!v.net.ops[op].measured) return;
  v.chosen = op;
  v.selected = new Set([op]);
  report(v);
}

// All that the operator in view is computed from, itself included.
function selectBefore(v) {
  if (v.chosen === null) return;
  const reached = new Set([v.chosen]), left = [v.chosen];
  while (left.length) for (const other of v.net.before[left.pop()]) if (!reached.has(other)) left.push(other), reached.add(other);
  v.selected = new Set([...reached].filter((op) => v.net.ops[op].measured));
  report(v);
}

function selectWithin(v, { x0, y0, x1, y1 }, adds) {
  const [left, right, top, bottom] = [Math.min(x0, x1), Math.max(x0, x1), Math.min(y0, y1), Math.max(y0, y1)];
  const inside = v.net.ops.flatMap((row, op) => {
    const box = boxOf(v, op), x = box.x + box.w / 2, y = box.y + box.h / 2;
    return row.measured && x >= left && x <= right && y >= top && y <= bottom ? [op] : [];
  });
  if (!inside.length) return;
  v.selected = new Set([...(adds ? v.selected : []), ...inside]);
  if (!v.selected.has(v.chosen)) v.chosen = worstOf(v, inside) ?? inside[0];
  report(v);
}

function deselect(v) {
  v.selected = new Set(v.chosen === null ? [] : [v.chosen]);
  report(v);
}

function report(v) {
  const orders = [...v.selected].map((op) => v.net.ops[op].order).sort((a, b) => a - b);
  v.at = stamp();
  v.setStateValue("pick", { value: { chosen: v.chosen === null ? null : v.net.ops[v.chosen].order, selected: orders }, at: v.at });
  mark(v);
}

// Attributes for those who cannot see the canvas, and for tests.
function mark(v) {
  const row = v.chosen === null ? null : v.net.ops[v.chosen];
  v.root.dataset.chosen = row ? row.order : "";
  v.root.dataset.selected = v.selected.size;
  setText(v.live, row ? `${v.selected.size > 1 ? `${v.selected.size} operators selected; ` : ""}${describe(v, v.chosen)}` : "");
  v.beforeButton.disabled = v.chosen === null;
  requestPaint(v);
}

function describe(v, op) {
  const row = v.net.ops[op];
  return `${row.name}, ${v.data.metrics[v.metric].label} ${figure(valueOf(v, op))}`;
}
