// One picture, or a pair, as large as the window allows: boxes, values, notes; arrows go through what the list shows.

const viewer = find("viewer");
let current = null; // the picture on view
let opener = null; // where the focus goes back to

function hue(name, names) {
  return `c${names.indexOf(name) % 8}`;
}

function boxesOf(side, names) {
  const layer = make("div", { class: "boxes", "aria-hidden": "true" });
  for (const [name, x0, y0, x1, y1, score] of side.b) {
    const box = make("div", { class: `box ${hue(name, names)}${y0 < side.h * 0.07 ? " low" : ""}${x0 > side.w * 0.55 ? " late" : ""}` });
    const place = { left: x0 / side.w, top: y0 / side.h, width: (x1 - x0) / side.w, height: (y1 - y0) / side.h };
    for (const [edge, share] of Object.entries(place)) box.style[edge] = `${100 * share}%`;
    box.append(make("span", {}, score === null || Number.isNaN(score) ? name : `${name} ${score.toFixed(2)}`));
    layer.append(box);
  }
  return layer;
}

function figure(side, label, names) {
  const stage = make("div", { class: "stage" });
  const caption = make("figcaption", {}, label);
  if (side.t < 0) {
    stage.append(make("span", { class: "blank" }));
    caption.append(`${label ? ": " : ""}no picture was found`);
  } else {
    const image = make("img", { src: THUMBNAILS[side.t], alt: `${label || "picture"}: ${DATA.prompts[current.p].text}`, width: side.w, height: side.h });
    if (Math.max(side.w, side.h) <= 96) image.className = "pixels";
    stage.append(image);
    stage.style.setProperty("--ratio", side.w / side.h); // as wide as its height allows, so that boxes stay in place
    if (side.f) {
      const whole = new Image(); // takes the thumbnail's place once it is there
      whole.addEventListener("load", () => { image.src = whole.src; });
      whole.addEventListener("error", () => caption.append(" (a thumbnail: the whole picture is not beside this page)"));
      whole.src = side.f;
      caption.append(label ? " " : "", make("a", { href: side.f, target: "_blank", rel: "noopener" }, "open the file"));
    }
    stage.append(boxesOf(side, names));
  }
  return make("figure", {}, stage, caption);
}

function valueRows() {
  const head = TWO ? [make("thead", {}, make("tr", {}, ...["", "before", "after", "change"].map((words) => make("th", { scope: "col" }, words))))] : [];
  const rows = DATA.metrics.map((metric, place) => {
    const cells = current.sides.map((side) => make("td", {}, number(side.v[place])));
    if (TWO) {
      const difference = changeOf(current, place);
      cells.push(make("td", { class: judged(place, difference) }, signed(difference)));
    }
    return make("tr", { class: place === state.metric ? "chosen" : "" }, make("th", { scope: "row" }, metric.name), ...cells);
  });
  return [...head, make("tbody", {}, ...rows)];
}

function noteLines() {
  const lines = [];
  current.sides.forEach((side, place) => {
    const label = TWO ? ["before", "after"][place] : "";
    for (const [name, words] of [...side.n, ...side.d]) {
      const title = [label, name].filter(Boolean).join(", ");
      lines.push(make("p", { class: "note" }, ...(title ? [make("b", {}, `${title}: `)] : []), words));
    }
    const counts = new Map();
    for (const [name] of side.b) counts.set(name, (counts.get(name) || 0) + 1);
    if (counts.size) {
      const found = [...counts].map(([name, count]) => (count > 1 ? `${name} × ${count}` : name)).join(", ");
      lines.push(make("p", { class: "note" }, make("b", {}, `${label ? `${label}, ` : ""}found: `), found));
    }
  });
  return lines;
}

function show(picture) {
  current = picture;
  const prompt = DATA.prompts[picture.p];
  const names = [...new Set(picture.sides.flatMap((side) => side.b.map((box) => box[0])))];
  const place = shown.pictures.indexOf(picture);
  find("v-place").textContent = place < 0 ? "" : `${place + 1} of ${shown.pictures.length}`;
  find("v-pictures").className = TWO ? "two-up" : "";
  find("v-pictures").replaceChildren(...picture.sides.map((side, number) => figure(side, TWO ? `${["Before", "After"][number]}: ${DATA.labels[number]}` : "", names)));
  find("v-prompt").textContent = prompt.text;
  const seed = picture.s === null ? "" : `seed ${picture.s}`;
  find("v-facts").textContent = [prompt.tag, `picture ${picture.i + 1} of ${prompt.pictures.length}`, seed, prompt.id].filter(Boolean).join(" · ");
  find("v-values").replaceChildren(...valueRows());
  find("v-notes").replaceChildren(...noteLines());
  find("v-boxes").hidden = !names.length;
  for (const [button, offset] of [["v-previous", -1], ["v-next", 1]]) find(button).disabled = !shown.pictures[place + offset] || place < 0;
  state.open = `${prompt.id}/${picture.i}`;
  remember();
}

function open(picture, from) {
  opener = from;
  show(picture);
  if (!viewer.open) viewer.showModal();
  viewer.scrollTop = 0;
  find("v-next").focus();
}

function move(offset) {
  const next = shown.pictures[shown.pictures.indexOf(current) + offset];
  if (next && shown.pictures.includes(current)) show(next);
}

// To the first picture, of those listed, of the next or the previous prompt.
function movePrompt(offset) {
  const place = shown.pictures.indexOf(current);
  if (place < 0) return;
  const rest = offset > 0 ? shown.pictures.slice(place + 1) : shown.pictures.slice(0, place).reverse();
  const next = rest.find((picture) => picture.p !== current.p);
  if (next) show(shown.pictures.find((picture) => picture.p === next.p));
}

function toggleBoxes() {
  const off = viewer.classList.toggle("boxes-off");
  find("v-boxes").setAttribute("aria-pressed", !off);
}

function closed() {
  state.open = "";
  remember();
  while (current && !document.querySelector(`.thumb[data-place="${current.place}"]`) && shown.pictures.includes(current) && drawMore());
  const button = (current && document.querySelector(`.thumb[data-place="${current.place}"]`)) || opener;
  if (button) focusThumb(button);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest(".thumb");
  if (button) open(DATA.pictures[Number(button.dataset.place)], button);
});
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); }); // on the backdrop
viewer.addEventListener("close", closed);
find("v-close").addEventListener("click", () => viewer.close());
find("v-previous").addEventListener("click", () => move(-1));
find("v-next").addEventListener("click", () => move(1));
find("v-boxes").addEventListener("click", toggleBoxes);
viewer.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const does = { ArrowRight: () => move(1), ArrowLeft: () => move(-1), ArrowDown: () => movePrompt(1), ArrowUp: () => movePrompt(-1), b: toggleBoxes }[event.key];
  if (does) { event.preventDefault(); does(); }
});

fillTools();
listen();
find("tools").hidden = false;
const recalled = recall();
change({ ...recalled, open: "" });
const asked = DATA.pictures.find((picture) => recalled.open && `${DATA.prompts[picture.p].id}/${picture.i}` === recalled.open);
if (asked) open(asked, null);
window.galleryReady = true; // what a test waits for
