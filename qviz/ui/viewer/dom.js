// Small pieces of DOM and of text. Labels and names come from files of strangers: they enter as text nodes only.

const SVG = "http://www.w3.org/2000/svg";

function el(tag, className = "", text = null) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== null) node.textContent = text;
  return node;
}

function svgEl(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function button(className, text, title, onClick) {
  const node = el("button", className, text);
  node.type = "button";
  if (title) node.title = title;
  node.addEventListener("click", onClick);
  return node;
}

// Writing an unchanged text or attribute still costs a style pass; a threshold drag does it thousands of times.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttr(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

function clamp(x, low, high) {
  return Math.min(Math.max(x, low), high);
}

// 0.62, 1.00
function score(x) {
  return x.toFixed(2);
}

// +0.31, −0.31 with a true minus; a difference that rounds to nothing has no sign
function signed(x) {
  const size = Math.abs(x).toFixed(2);
  if (size === "0.00") return "±0.00";
  return (x < 0 ? "−" : "+") + size;
}

function plural(n, word) {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}

function short(text, limit = 24) {
  return text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
}

function labelOf(v, classId) {
  const labels = v.data.labels ?? {};
  return Object.hasOwn(labels, classId) ? String(labels[classId]) : `class ${classId}`;
}

// Black or white, whichever reads better on the colour (WCAG relative luminance; .179 is where the two are equal).
function inkOn(colour) {
  const hex = /^#([0-9a-f]{6})$/i.exec(colour);
  if (!hex) return "#000";
  const channel = (shift) => {
    const c = ((parseInt(hex[1], 16) >> shift) & 255) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  };
  const luminance = 0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0);
  return luminance > 0.179 ? "#000" : "#fff";
}
