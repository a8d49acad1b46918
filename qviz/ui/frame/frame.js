// data = {html, rev, height}. Without allow-same-origin the page has an origin of its own: it may run its own scripts
// (its policy knows them by their digests), and can neither read nor change anything around it.

export default function ({ data, parentElement }) {
  const place = parentElement.querySelector(".qviz-frame");
  if (!place || !data || place.dataset.rev === data.rev) return;
  place.dataset.rev = data.rev;
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts allow-downloads allow-modals");
  frame.title = "The report";
  Object.assign(frame.style, { width: "100%", height: `${data.height}px`, border: "1px solid #8886", borderRadius: "4px" });
  frame.srcdoc = data.html;
  place.replaceChildren(frame);
}
