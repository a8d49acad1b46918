// data = {rev, colour, images: [{name, src, width, height, boxes: [[x1, y1, x2, y2, change]], badge, level, text}]}.
// Names come from files: textContent only. Reported: `picked`, whose value is the name of the image that was clicked.

const SPACE = "http://www.w3.org/2000/svg";

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".qviz-gallery");
  if (!root || !data) return;
  root.pick = (name) => setStateValue("picked", { value: name, at: stamp() });
  if (root.dataset.rev === data.rev) return;
  root.dataset.rev = data.rev;
  root.style.setProperty("--colour", data.colour);
  root.replaceChildren(...data.images.map((image) => makeCard(root, image)));
}

function makeCard(root, image) {
  const card = document.createElement("button");
  card.type = "button";
  card.dataset.name = image.name;
  card.title = `${image.name}: open on Compare`;
  card.append(picture(image), caption(image));
  card.addEventListener("click", () => root.pick(image.name));
  return card;
}

function picture(image) {
  const drawing = svg("svg", { viewBox: `0 0 ${image.width} ${image.height}`, "aria-hidden": "true" });
  if (image.src) drawing.append(svg("image", { href: image.src, width: image.width, height: image.height, preserveAspectRatio: "none" }));
  for (const [x1, y1, x2, y2, change] of image.boxes) {
    const box = svg("g", { "data-change": change });
    const at = { x: x1, y: y1, width: Math.max(x2 - x1, 0), height: Math.max(y2 - y1, 0) };
    box.append(svg("rect", { class: "case", ...at }), svg("rect", { class: "line", ...at }));
    drawing.append(box);
  }
  return drawing;
}

function caption(image) {
  const text = part("text", "");
  const counts = part("counts", "");
  counts.append(part(`badge ${image.level}`, image.badge), image.text.slice(image.badge.length));
  text.append(part("name", image.name), counts);
  return text;
}

function part(className, text) {
  const node = document.createElement("span");
  node.className = className;
  node.textContent = text;
  return node;
}

function svg(tag, attributes) {
  const node = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}
