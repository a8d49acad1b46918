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

function themeOf(root) {
  const style = getComputedStyle(root);
  const read = (name) => style.getPropertyValue(name).trim();
  const probe = (name) => {
    v_probe.style.color = `var(${name})`;
    return getComputedStyle(v_probe).color;
  };
  const v_probe = el("i");
  root.append(v_probe);
  const theme = Object.fromEntries(["text", "back", "soft", "edge", "quiet", "line", "accent", "frame", "ring"].map((name) => [name, probe(`--${name}`)]));
  v_probe.remove();
  return { ...theme, font: style.fontFamily, size: parseFloat(read("font-size")) || 14 };
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
