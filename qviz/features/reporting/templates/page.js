"use strict";
(() => {
  const PAPER = 660; // pixels across an A4 sheet within its margins
  const TALL = 900; // and down
  const LIGHT = { ink: "#1b2228", line: "#d9dee3", panel: "#ffffff" };
  const DARK = { ink: "#e6eaed", line: "#343d45", panel: "#1d2328" };
  const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const template = ({ ink, line, panel }, printed) => {
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line, automargin: true, title: { standoff: 12, font: { size: printed ? 11 : 13 } } };
    return { layout: { xaxis: axis, yaxis: axis, hoverlabel: { bgcolor: panel, bordercolor: line, font: { color: ink } } } };
  };

  const draw = (place, printed) => {
    const colours = !printed && dark.matches ? DARK : LIGHT;
    const json = document.getElementById(`${place.id}-data`).textContent;
    const { data, layout } = JSON.parse(json);
    const font = { ...layout.font, color: colours.ink, family: getComputedStyle(document.body).fontFamily, size: printed ? 11 : 13 };
    const own = { template: template(colours, printed), font, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
    const size = printed
      ? { width: PAPER, height: Math.min(layout.height || 400, TALL), autosize: false }
      : { width: undefined, height: layout.height, autosize: true };
    Plotly.react(place, data, { ...layout, ...own, ...size }, CONFIG);
  };

  const drawAll = (printed) => document.querySelectorAll(".plot").forEach((place) => draw(place, printed));

  const light = (object, on) => {
    const pair = object.dataset.pair;
    if (!pair) return;
    object.closest(".panes").querySelectorAll(".object").forEach((other) => {
      if (other.dataset.pair === pair) other.classList.toggle("lit", on);
    });
  };

  document.querySelectorAll(".object").forEach((object) => {
    object.addEventListener("mouseenter", () => light(object, true));
    object.addEventListener("mouseleave", () => light(object, false));
  });
  document.querySelectorAll(".pane svg").forEach((picture) => {
    picture.addEventListener("click", () => picture.parentElement.classList.toggle("large"));
  });
  // Spreadsheets run what begins like a formula, and names come from files; figures stay figures.
  const cell = (text) => {
    const plain = text.trim().replace(/\s+/g, " ");
    if (plain === "–") return "";
    const safe = /^[=+\-@]/.test(plain) && Number.isNaN(Number(plain)) ? `'${plain}` : plain;
    return /[",;]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const csv = (table) => [...table.rows].map((row) => [...row.cells].map(({ textContent }) => cell(textContent)).join(",")).join("\r\n");

  const save = (text, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };

  document.querySelectorAll(".table").forEach((place) => {
    const section = place.closest("section");
    const number = [...section.querySelectorAll(".table")].indexOf(place) + 1;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "csv";
    button.textContent = "Download CSV";
    button.addEventListener("click", () => save(csv(place.querySelector("table")), `${section.id}-${number}.csv`));
    place.append(button);
  });
  addEventListener("beforeprint", () => drawAll(true));
  addEventListener("afterprint", () => drawAll(false));
  dark.addEventListener("change", () => drawAll(false));
  drawAll(false);
})();
