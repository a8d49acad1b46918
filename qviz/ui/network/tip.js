// What stands under the pointer or the keyboard's mark, beside it.

function showTip(v, hit, at) {
  v.tip.replaceChildren(...(hit ? tipRows(v, hit) : []));
  v.tip.hidden = !hit || !v.tip.childElementCount;
  if (v.tip.hidden) return;
  const { offsetWidth: w, offsetHeight: h } = v.tip;
  const x = at.x + 16 + w < v.size.w ? at.x + 16 : Math.max(4, at.x - w - 12);
  const y = at.y + 18 + h < v.size.h ? at.y + 18 : Math.max(4, at.y - h - 12);
  v.tip.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
}

function tipRows(v, hit) {
  return hit.op === null ? blockRows(v, hit.block) : operatorRows(v, v.net.ops[hit.op]);
}

function operatorRows(v, row) {
  const rows = [el("b", "", row.name), el("span", "qviz-quiet", shortened(row.tensor, 70))];
  if (row.refused) rows.push(el("span", "", row.refused));
  if (!row.measured) return [...rows, el("span", "", "Not compared: it has no partner in the reference.")];
  v.data.metrics.forEach((metric, i) => rows.push(pair(metric.label, figure(row.values[i]))));
  for (const [label, text] of row.facts) rows.push(pair(label, text));
  return rows;
}

function blockRows(v, block) {
  const members = v.net.members[block], orders = members.map((op) => v.net.ops[op].order);
  const worst = worstOf(v, members), open = v.layout.open.has(block);
  const rows = [el("b", "", v.net.blocks[block].name), el("span", "qviz-quiet", v.net.blocks[block].kinds)];
  rows.push(pair("operators", `${Math.min(...orders)} to ${Math.max(...orders)}`));
  if (worst !== null) rows.push(pair(`worst ${v.data.metrics[v.metric].label}`, `${figure(valueOf(v, worst))} at ${v.net.ops[worst].order}`));
  rows.push(el("span", "qviz-quiet", open ? "Click: select all of it. Double-click: collapse." : "Click: its worst operator. Double-click: expand."));
  return rows;
}

function pair(label, text) {
  const row = el("span", "qviz-pair");
  row.append(el("span", "qviz-quiet", label), el("span", "", text));
  return row;
}
