// The viewer's state and how it travels. Every change is drawn here at once; Python is told, and may itself change what
// it passes as `view`: then, and only then, the view of the data wins over the user's.

const FIELDS = {
  threshold: { read: Number, write: (x) => x },
  selected: { read: (x) => x || null, write: (x) => x },
  mode: { read: (x) => (x === "swipe" ? "swipe" : "side"), write: (x) => x },
  changes: { read: (x) => new Set(x ?? CHANGES), write: (x) => CHANGES.filter((change) => x.has(change)) },
  classes: { read: (x) => new Set(x ?? []), write: (x) => [...x].sort((a, b) => a - b) },
  truth: { read: Boolean, write: (x) => x },
  focus: { read: (x) => x ?? null, write: (x) => x },
  present: { read: Boolean, write: (x) => x },
};

function readView(view) {
  return Object.fromEntries(Object.entries(FIELDS).map(([name, field]) => [name, field.read(view[name])]));
}

// By the user: draw, then tell.
function choose(v, name, value) {
  v.state[name] = value;
  redraw(v, name);
  tell(v, name);
}

// The stamp lets Python see a repeated value as a new act; the rev, to which image it belongs.
function tell(v, name) {
  const value = FIELDS[name].write(v.state[name]);
  const told = (v.told[name] ??= []);
  told.push(JSON.stringify(value));
  if (told.length > 20) told.shift();
  v.setStateValue(name, { value, rev: v.data.rev, at: stamp() });
}

const STEPS = 20; // more presses than a user can make before Python answers

// To the next or previous image. All recent presses are reported, each with its stamp: Python may answer several at once.
function step(v, by) {
  const at = stamp();
  v.steps = [...v.steps, [at, by]].slice(-STEPS);
  v.setStateValue("step", { value: v.steps, at });
}

// By Python, without a rebuild. A value that is only the echo of an own report, perhaps of one already overtaken by the
// next, changes nothing; neither does one that Python passed before.
function followView(v, view) {
  const followed = Object.keys(FIELDS).filter((name) => isNews(v, name, view[name]));
  for (const name of followed) v.state[name] = FIELDS[name].read(view[name]);
  receive(v, view);
  if (followed.length) redraw(v, followed.length === 1 ? followed[0] : "mode");
}

function receive(v, view) {
  for (const name of Object.keys(FIELDS)) v.received[name] = JSON.stringify(view[name] ?? null);
}

function isNews(v, name, value) {
  const text = JSON.stringify(FIELDS[name].write(FIELDS[name].read(value)) ?? null);
  const told = v.told[name] ?? [];
  const echo = told.lastIndexOf(text);
  if (echo >= 0) {
    told.splice(0, echo + 1);
    return false;
  }
  return JSON.stringify(value ?? null) !== v.received[name];
}

// Draws no more than the change asks for.
function redraw(v, name) {
  if (name === "selected") {
    markSlots(v);
    return paintAllTags(v);
  }
  if (name === "truth") return paintToolbar(v);
  if (name === "present") return raise(v);
  if (name === "mode" || name === "focus") arrange(v);
  paintBoxes(v);
  if (name === "mode" || name === "focus") layout(v);
}

function paintBoxes(v) {
  putInForce(v);
  for (const pane of v.panes) paintPane(v, pane);
  markSlots(v);
  if (v.shot) paintAllTags(v);
  paintToolbar(v);
  v.root.dataset.threshold = v.state.threshold.toFixed(2);
}

function clickAt(v, event) {
  const key = boxAt(event);
  if (key !== v.state.selected) choose(v, "selected", key);
}

function toggled(set, item) {
  const next = new Set(set);
  if (!next.delete(item)) next.add(item);
  return next;
}

function otherMode(v) {
  return v.state.mode === "swipe" ? "side" : "swipe";
}
