// Where blocks, operators and lines are drawn; pure functions, linear in operators and edges.
//
// The network flows down, and on from the top of the next column, as text does: a network of hundreds of operators then
// fills a landscape canvas. `arrange` tries a few column heights and takes the one with the largest scale.
//   layers   row: the longest path from an input; lane 0 is one longest path, any other node takes the free lane that is
//            nearest to the nodes it reads, so that branches stay apart and chains stay straight
//   block    open: its operators in layers of their own within a frame; folded: one card; a single operator: its chip
//   lines    between blocks: straight in a lane, else with right angles through the gaps; to another column through the
//            gutters between columns and the channel above them. Lines to one block share a track
// Units: world pixels, at scale 1. Operators and blocks are positions in `net.ops` and `net.blocks`.

const CHIP = { w: 66, h: 18, row: 23, lane: 73 };
const CARD = { w: 104, h: 46 };
const FRAME = { title: 17, side: 7, bottom: 7 };
const SPACE = { block: 15, lane: 12, gutter: 16, track: 4, margin: 14 };
const MOST_TRACKS = 9;
const MOST_ABREAST = 3; // operators of a block in one row; more of them go into the next rows
const HEIGHTS_TRIED = 28;

// net: {ops: [{block}], edges: [[a, b]]}. Adds what every layout of it needs.
function prepare(net) {
  net.members = net.blocks.map(() => []);
  net.before = net.ops.map(() => []);
  net.after = net.ops.map(() => []);
  net.ops.forEach((op, i) => net.members[op.block].push(i));
  const inside = net.blocks.map(() => []);
  const between = new Map();
  for (const [a, b] of net.edges) {
    net.before[b].push(a);
    net.after[a].push(b);
    const [from, to] = [net.ops[a].block, net.ops[b].block];
    if (from === to) inside[from].push([a, b]);
    else between.set(from * net.blocks.length + to, [from, to]);
  }
  net.links = [...between.values()];
  net.reads = net.blocks.map(() => []);
  for (const [a, b] of net.links) net.reads[b].push(a);
  net.shapes = net.members.map((members, block) => shapeOf(members, inside[block]));
  net.layers = layered(net.blocks.length, net.links);
  return net;
}

// The operators of one block in layers: {nodes: [[operator, x, y]], w, h, inner edges}
function shapeOf(members, edges) {
  const position = new Map(members.map((op, i) => [op, i]));
  const { rows, lanes, depth, width } = layered(members.length, edges.map(([a, b]) => [position.get(a), position.get(b)]), MOST_ABREAST);
  const nodes = members.map((op, i) => [op, lanes[i] * CHIP.lane, rows[i] * CHIP.row]);
  return { nodes, edges, w: (width - 1) * CHIP.lane + CHIP.w, h: (depth - 1) * CHIP.row + CHIP.h };
}

function layered(count, edges, abreast = Infinity) {
  const before = Array.from({ length: count }, () => []);
  const after = Array.from({ length: count }, () => []);
  for (const [a, b] of edges) {
    before[b].push(a);
    after[a].push(b);
  }
  const order = sorted(before, after);
  const rows = new Array(count).fill(0);
  const fill = []; // nodes in each row
  for (const node of order) {
    for (const other of before[node]) rows[node] = Math.max(rows[node], rows[other] + 1);
    while ((fill[rows[node]] ?? 0) >= abreast) rows[node] += 1;
    fill[rows[node]] = (fill[rows[node]] ?? 0) + 1;
  }
  const trunk = longestPath(rows, before);
  const lanes = new Array(count).fill(0);
  const taken = new Set([...trunk].map((node) => rows[node])); // row + lane * (count + 1)
  const rest = order.filter((node) => !trunk.has(node)).sort((a, b) => rows[a] - rows[b]);
  for (const node of rest) {
    const reads = before[node].filter((other) => !trunk.has(other));
    const goal = reads.length ? reads.reduce((sum, other) => sum + lanes[other], 0) / reads.length : 1;
    lanes[node] = nearestFree(Math.max(1, Math.round(goal)), (lane) => taken.has(rows[node] + lane * (count + 1)));
    taken.add(rows[node] + lanes[node] * (count + 1));
  }
  return { order, rows, lanes, depth: 1 + Math.max(0, ...rows), width: 1 + Math.max(0, ...lanes) };
}

// Nodes so that each comes after those that it reads.
function sorted(before, after) {
  const left = before.map((others) => others.length);
  const order = left.flatMap((count, node) => (count ? [] : [node]));
  for (let i = 0; i < order.length; i += 1) for (const next of after[order[i]]) if ((left[next] -= 1) === 0) order.push(next);
  return order;
}

function longestPath(rows, before) {
  const path = new Set();
  let node = rows.indexOf(Math.max(...rows));
  while (node !== undefined && node >= 0) {
    path.add(node);
    node = before[node].reduce((best, other) => (best === undefined || rows[other] > rows[best] ? other : best), undefined);
  }
  return path;
}

function nearestFree(goal, taken) {
  for (let away = 0; ; away += 1) {
    if (!taken(goal + away)) return goal + away;
    if (goal - away >= 1 && !taken(goal - away)) return goal - away;
  }
}

function sizeOf(net, block, open) {
  if (net.members[block].length === 1) return { w: CHIP.w, h: CHIP.h };
  if (!open.has(block)) return CARD;
  const { w, h } = net.shapes[block];
  return { w: w + 2 * FRAME.side, h: h + FRAME.title + FRAME.bottom };
}

// open: the blocks that show their operators; wide, high: the canvas, whose proportions the picture gets.
function arrange(net, open, wide, high) {
  const sizes = net.blocks.map((_, block) => sizeOf(net, block, open));
  const order = [...net.layers.order].sort((a, b) => net.layers.rows[a] - net.layers.rows[b] || net.layers.lanes[a] - net.layers.lanes[b]);
  const least = Math.max(...sizes.map((size) => size.h), 1);
  const most = sizes.reduce((sum, size) => sum + size.h + SPACE.block, least);
  let best = null;
  for (let i = 0; i <= HEIGHTS_TRIED; i += 1) {
    const columns = pack(net, order, sizes, least * (most / least) ** (i / HEIGHTS_TRIED));
    const scale = Math.min(wide / columns.w, high / columns.h);
    if (!best || scale > best.scale) best = { columns, scale };
  }
  return place(net, best.columns, sizes, open);
}

// Blocks into columns of at most this height: {column, y} of each, the columns' lanes, and the size of all of them.
function pack(net, order, sizes, limit) {
  const { lanes } = net.layers;
  const column = new Array(order.length).fill(0), y = new Array(order.length).fill(0);
  const all = [];
  let current = null, h = 0;
  for (const block of order) {
    let top = topOf(block);
    if (!current || (top + sizes[block].h > limit && current.blocks.length)) {
      current = { blocks: [], widths: [], bottoms: [] };
      all.push(current);
      top = topOf(block);
    }
    column[block] = all.length - 1;
    y[block] = top;
    current.blocks.push(block);
    current.widths[lanes[block]] = Math.max(current.widths[lanes[block]] ?? 0, sizes[block].w);
    current.bottoms[lanes[block]] = top + sizes[block].h + SPACE.block;
    h = Math.max(h, top + sizes[block].h);
  }
  function topOf(block) {
    if (!current) return 0;
    let top = current.bottoms[lanes[block]] ?? 0;
    for (const other of net.reads[block])
      if (column[other] === all.length - 1) top = Math.max(top, y[other] + sizes[other].h + SPACE.block);
    return top;
  }
  const columns = { column, y, all };
  const tracks = tracksOf(net, columns);
  const gutters = tracks.gutters.reduce((sum, gutter) => sum + SPACE.gutter + SPACE.track * Math.min(gutter.size, MOST_TRACKS), 0);
  const w = all.reduce((sum, one) => sum + one.widths.reduce((s, width) => s + width + SPACE.lane, 0), gutters);
  return { ...columns, tracks, w, h: h + 2 * SPACE.margin + SPACE.track * Math.min(tracks.above.size, MOST_TRACKS), inner: h };
}

function place(net, columns, sizes, open) {
  const { tracks } = columns;
  const channel = SPACE.margin + SPACE.track * Math.min(tracks.above.size, MOST_TRACKS);
  const boxes = new Array(net.blocks.length);
  let x = SPACE.margin;
  const gutters = [];
  columns.all.forEach((one, i) => {
    gutters[i] = x;
    if (i || tracks.gutters[i].size) x += SPACE.gutter + SPACE.track * Math.min(tracks.gutters[i].size, MOST_TRACKS);
    const lefts = [];
    one.widths.forEach((width, lane) => {
      lefts[lane] = x;
      x += width + SPACE.lane;
    });
    one.lefts = lefts;
    for (const block of one.blocks) {
      const lane = net.layers.lanes[block], { w, h } = sizes[block];
      boxes[block] = { x: lefts[lane] + (one.widths[lane] - w) / 2, y: channel + columns.y[block], w, h, column: i, lane };
    }
  });
  gutters.push(x);
  const w = x + SPACE.gutter + SPACE.track * Math.min(tracks.gutters[columns.all.length].size, MOST_TRACKS);
  const h = channel + columns.inner + SPACE.margin;
  const routes = net.links.map(([a, b]) => ({ a, b, points: routeOf(net, columns, boxes, gutters, tracks, a, b) }));
  return { w, h, boxes, chips: chipsOf(net, boxes, open), routes, open: new Set(open) };
}

// Which lines run in the gutter left of each column, and in the channel above, by the block that they lead to.
function tracksOf(net, columns) {
  const gutters = Array.from({ length: columns.all.length + 1 }, () => new Map());
  const above = new Map();
  const use = (map, block) => map.has(block) || map.set(block, map.size);
  for (const [a, b] of net.links) {
    const [from, to] = [columns.column[a], columns.column[b]];
    if (from === to) continue;
    use(gutters[from + 1], b);
    if (to === from + 1) continue;
    use(gutters[to], b);
    use(above, b);
  }
  return { gutters, above };
}

function routeOf(net, columns, boxes, gutters, tracks, a, b) {
  const [from, to] = [boxes[a], boxes[b]];
  const start = { x: from.x + from.w / 2, y: from.y + from.h }, end = { x: to.x + to.w / 2, y: to.y };
  const out = start.y + SPACE.block * 0.35, into = end.y - SPACE.block * 0.35;
  const gutter = (i) => gutters[i] + 8 + SPACE.track * (tracks.gutters[i].get(b) % MOST_TRACKS);
  if (from.column === to.column) return inColumn(columns.all[from.column], boxes, from, to, start, end, out, into);
  const first = [start, { x: start.x, y: out }, { x: gutter(from.column + 1), y: out }];
  const last = [{ x: gutter(to.column), y: into }, { x: end.x, y: into }, end];
  if (to.column === from.column + 1) return [...first, ...last];
  const top = SPACE.margin * 0.7 + SPACE.track * (tracks.above.get(b) % MOST_TRACKS);
  return [...first, { x: first[2].x, y: top }, { x: last[0].x, y: top }, ...last];
}

function inColumn(column, boxes, from, to, start, end, out, into) {
  const clear = (lane) => !column.blocks.some((i) => boxes[i].lane === lane && boxes[i].y > start.y && boxes[i].y + boxes[i].h < end.y);
  if (from.lane === to.lane) {
    if (clear(from.lane)) return [start, end];
    const side = Math.max(from.x + from.w, to.x + to.w, column.lefts[from.lane] + column.widths[from.lane]) + SPACE.lane * 0.45;
    return [start, { x: start.x, y: out }, { x: side, y: out }, { x: side, y: into }, { x: end.x, y: into }, end];
  }
  const y = clear(from.lane) ? into : out;
  return [start, { x: start.x, y }, { x: end.x, y }, end];
}

// x, y of the chip of each operator; undefined where its block is folded.
function chipsOf(net, boxes, open) {
  const chips = new Array(net.ops.length);
  net.members.forEach((members, block) => {
    const box = boxes[block];
    if (members.length === 1) chips[members[0]] = { x: box.x, y: box.y };
    else if (open.has(block))
      for (const [op, x, y] of net.shapes[block].nodes) chips[op] = { x: box.x + FRAME.side + x, y: box.y + FRAME.title + y };
  });
  return chips;
}
