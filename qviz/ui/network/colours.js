// Colours: of the error from data.scale [[share of the range, "#rrggbb"], ...], the rest from the page's theme.

function channels(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

// 64 colours along the scale; a value beyond its ends has the colour of the end.
function scaleOf(stops) {
  return Array.from({ length: 64 }, (_, i) => {
    const share = i / 63;
    const at = Math.max(1, stops.findIndex(([stop]) => stop >= share));
    const [[low, a], [high, b]] = [stops[at - 1], stops[at]];
    const part = (share - low) / (high - low || 1);
    const [x, y] = [channels(a), channels(b)];
    return `rgb(${x.map((c, k) => Math.round(c + (y[k] - c) * part)).join(" ")})`;
  });
}

function colourOf(v, value) {
  const [low, high] = v.data.range;
  return v.scale[Math.round(clamp((value - low) / (high - low), 0, 1) * 63)];
}

const SAMPLE = "expanded_conv_13/depthwise/BatchNorm_0123456789";

// The colours and the type of the page; letter: mean width of a letter, in sizes of the type.
function themeOf(root, pen) {
  const font = getComputedStyle(root).fontFamily;
  const swatch = el("i");
  const colour = (name) => {
    swatch.style.color = `var(--${name})`;
    return getComputedStyle(swatch).color;
  };
  root.append(swatch);
  const names = ["text", "back", "edge", "quiet", "line", "accent", "frame", "ring"];
  const theme = Object.fromEntries(names.map((name) => [name, colour(name)]));
  swatch.remove();
  pen.font = `100px ${font}`;
  return { ...theme, font, letter: pen.measureText(SAMPLE).width / 100 / SAMPLE.length };
}

// A figure with its unit, or a dash.
function figure(value, unit = "dB") {
  return value === null || value === undefined ? "–" : `${value.toFixed(1)} ${unit}`;
}

// The middle is cut, because names share their beginning and differ in their end: "Mobile…conv_13/depthwise".
function shortened(text, limit) {
  if (text.length <= limit) return text;
  if (limit < 4) return text.slice(0, Math.max(limit, 1));
  const tail = Math.ceil((limit - 1) * 0.7);
  return `${text.slice(0, limit - 1 - tail)}…${text.slice(-tail)}`;
}
