// data = {rev, images: [{name, src, badge, level}], current}. Names come from files: textContent only.
// Reported: `picked`, whose value is the name of the image that was clicked.

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".qviz-strip");
  if (!root || !data) return;
  root.pick = (name) => setStateValue("picked", { value: name, at: stamp() });
  if (root.dataset.rev !== data.rev) {
    root.replaceChildren(...data.images.map((image) => makeButton(root, image)));
    root.dataset.rev = data.rev;
  }
  markCurrent(root, data.current);
}

function makeButton(root, image) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.name = image.name;
  button.title = image.name;
  button.append(image.src ? picture(image) : caption(image), " "); // a screen reader says the name, then the badge
  if (image.badge) button.append(badge(image));
  button.addEventListener("click", () => root.pick(image.name));
  return button;
}

function picture(image) {
  const element = document.createElement("img");
  element.src = image.src;
  element.alt = image.name;
  return element;
}

function caption(image) {
  const element = document.createElement("span");
  element.className = "name";
  element.textContent = image.name;
  return element;
}

function badge(image) {
  const element = document.createElement("span");
  element.className = `badge ${image.level}`;
  element.textContent = image.badge;
  return element;
}

function markCurrent(root, current) {
  for (const button of root.children) {
    const here = button.dataset.name === current;
    if (here && button.getAttribute("aria-current") !== "true") {
      // within the strip alone: scrollIntoView would move the page
      root.scrollTo({ left: button.offsetLeft - root.offsetLeft - root.clientWidth / 2 + button.offsetWidth / 2, behavior: "instant" });
    }
    button.setAttribute("aria-current", String(here));
  }
}
