// data = {current: {id, name, text, own} | null, deleted: [id]}. Names come from files and users: textContent only.
// Reported: `picked`, whose value is an ID to open, and `unwanted`, with a list of IDs of projects to delete.
// The list is in localStorage, which belongs to this address (host and port) and is not sent with requests.

const KEY = "qviz-projects";
const MOST = 100;
const ID = /^[0-9a-f]{32}$/;
const INTRODUCTION =
  "What you drop becomes a project. It is saved on this server, under an address that nobody can guess; this browser remembers it here.";

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".qviz-project-list");
  if (!root || !data) return;
  noReferrer();
  const gone = new Set(data.deleted);
  const rows = withCurrent(read().filter((row) => !gone.has(row.id)), data.current);
  write(rows);
  draw(root, rows, data.current, (name, value) => setStateValue(name, { value, at: stamp() }));
}

// Addresses hold the ID of a project: none is sent along with a request, to this server or another.
function noReferrer() {
  if (document.head.querySelector('meta[name="referrer"]')) return;
  const meta = document.createElement("meta");
  meta.name = "referrer";
  meta.content = "no-referrer";
  document.head.append(meta);
}

function read() {
  try {
    const rows = JSON.parse(localStorage.getItem(KEY) || "[]");
    return Array.isArray(rows) ? rows.filter((row) => row && ID.test(row.id)).slice(0, MOST) : [];
  } catch {
    return []; // damaged, or a browser that keeps nothing
  }
}

function write(rows) {
  try {
    localStorage.setItem(KEY, JSON.stringify(rows.slice(0, MOST)));
  } catch {
    // a browser that keeps nothing: the list is that of this page
  }
}

function withCurrent(rows, current) {
  if (!current || !ID.test(current.id)) return rows;
  const known = rows.find((row) => row.id === current.id);
  const row = { ...current, own: current.own || Boolean(known && known.own) };
  return [row, ...rows.filter((other) => other.id !== current.id)];
}

function draw(root, rows, current, report) {
  const items = rows.map((row) => item(root, row, current, report));
  const list = document.createElement("ul");
  list.setAttribute("aria-label", "Projects of this browser");
  list.append(...items);
  root.replaceChildren(...(rows.length ? [list] : [text("p", INTRODUCTION)]));
  if (rows.length) root.append(everything(root, rows, current, report));
}

function item(root, row, current, report) {
  const element = document.createElement("li");
  const open = button("", "open", () => report("picked", row.id));
  open.disabled = Boolean(current) && row.id === current.id;
  open.append(text("span", row.name || "Unnamed"), text("small", row.own ? row.text : `${row.text} · opened by a link`));
  const remove = button("×", "remove", () => element.replaceChildren(question(row)));
  remove.setAttribute("aria-label", `Remove ${row.name || "Unnamed"}`);
  element.append(open, remove);

  function question({ id, name, own }) {
    const words = own ? `Delete ${name || "this project"} for good?` : "Take it off this list? It stays on the server.";
    const agree = () => (own ? report("unwanted", [id]) : forget(root, [id], current, report));
    return asked(words, own ? "Delete" : "Take off", agree, () => draw(root, read(), current, report));
  }
  return element;
}

function everything(root, rows, current, report) {
  const own = rows.filter((row) => row.own).map((row) => row.id);
  const others = rows.length - own.length;
  const start = button("Delete all my data", "", () => {
    const rest = others ? " Projects that you opened by a link are only taken off this list; they stay on the server." : "";
    const words = `Delete ${own.length === 1 ? "1 project" : `${own.length} projects`} for good?${rest}`;
    const agree = () => {
      forget(root, rows.filter((row) => !row.own).map((row) => row.id), null, report);
      report("unwanted", own);
    };
    start.replaceWith(asked(words, "Delete all", agree, () => draw(root, read(), current, report)));
  });
  return start;
}

function forget(root, ids, current, report) {
  const rows = read().filter((row) => !ids.includes(row.id));
  write(rows);
  draw(root, rows, current, report);
}

function asked(words, label, agree, keep) {
  const element = document.createElement("div");
  element.className = "question";
  element.setAttribute("role", "alertdialog");
  element.setAttribute("aria-label", words);
  element.append(text("div", words), button(label, "danger", agree), button("Keep", "", keep));
  return element;
}

function button(words, kind, act) {
  const element = text("button", words);
  element.type = "button";
  element.className = kind;
  element.addEventListener("click", act);
  return element;
}

function text(kind, words) {
  const element = document.createElement(kind);
  element.textContent = words;
  return element;
}
