// The list of pictures: filter, sort, and draw only as far as one has scrolled.

const CHUNK = 40; // rows at a time; a sheet draws three times as many pictures
const state = { find: "", metric: 0, show: "", tag: "", sort: "", view: "table", open: "" };
const shown = { pictures: [], prompts: [], drawn: 0 };

const SORTS = TWO
  ? [["worst", "worst regressions first"], ["best", "greatest gains first"], ["suite", "order of the suite"], ["text", "prompt, A to Z"], ["low", "lowest value first"], ["high", "highest value first"]]
  : [["suite", "order of the suite"], ["worst", "worst first"], ["best", "best first"], ["spread", "most disagreement first"], ["text", "prompt, A to Z"]];

// ---- which pictures, in which order

function matches(picture) {
  return (!state.tag || DATA.prompts[picture.p].tag === state.tag)
    && (!state.show || outcomeOf(picture, state.metric) === state.show)
    && state.find.toLowerCase().split(/\s+/).every((word) => picture.words.includes(word));
}

// Pairs of (key, second key) in ascending order; what has no number comes last, ties keep the suite's order.
function ordered(things, key, second = () => 0) {
  const keyed = things.map((thing) => [thing, key(thing), second(thing)]);
  const compare = (a, b) => {
    if (a === b) return 0;
    if (a === null) return 1;
    if (b === null) return -1;
    return a < b ? -1 : 1;
  };
  keyed.sort((a, b) => compare(a[1], b[1]) || compare(a[2], b[2]) || a[0].place - b[0].place);
  return keyed.map(([thing]) => thing);
}

const times = (factor, value) => (value === null ? null : factor * value);

function spread(prompt) {
  const values = prompt.pictures.map((each) => valueOf(each, state.metric)).filter((value) => value !== null);
  return values.length < 2 ? null : Math.min(...values) - Math.max(...values);
}

// Of prompts by the mean of their pictures, of pictures by their own value.
function sorted(things, value, change, text) {
  const better = sign(state.metric);
  const worst = (thing) => (thing.pictures ? Math.min(...thing.pictures.map((each) => times(better, changeOf(each, state.metric)) ?? 0)) : 0);
  switch (state.sort) {
    case "worst": return TWO ? ordered(things, (each) => times(better, change(each)), worst) : ordered(things, (each) => times(better, value(each)));
    case "best": return TWO ? ordered(things, (each) => times(-better, change(each))) : ordered(things, (each) => times(-better, value(each)));
    case "low": return ordered(things, value);
    case "high": return ordered(things, (each) => times(-1, value(each)));
    case "spread": return ordered(things, (each) => (each.pictures ? spread(each) : spread(DATA.prompts[each.p])));
    case "text": return ordered(things, (each) => text(each).toLowerCase());
    default: return ordered(things, () => 0);
  }
}

function select() {
  const kept = DATA.pictures.filter(matches);
  const ids = new Set(kept.map((picture) => picture.p));
  const prompts = DATA.prompts.filter((prompt) => ids.has(prompt.place));
  shown.kept = new Set(kept);
  shown.prompts = sorted(prompts, (each) => promptMean(each, state.metric), (each) => promptChange(each, state.metric), (each) => each.text);
  const pictures = sorted(kept, (each) => valueOf(each, state.metric), (each) => changeOf(each, state.metric), (each) => DATA.prompts[each.p].text);
  // The viewer goes through the pictures in the order in which they stand on the page.
  shown.pictures = state.view === "sheet" ? pictures : shown.prompts.flatMap((prompt) => prompt.pictures.filter((each) => shown.kept.has(each)));
}

// ---- drawing

function cell(side, metric, label) {
  const mark = markOf(side.v[metric], metric);
  const inside = make("span", { class: "cell" });
  if (side.t < 0) inside.append(make("span", { class: "blank" }));
  else {
    const image = make("img", { alt: "", decoding: "async", src: THUMBNAILS[side.t] });
    if (Math.max(side.w, side.h) <= 96) image.className = "pixels";
    inside.append(image);
  }
  inside.append(make("span", { class: `mark ${mark.kind}` }, mark.text));
  return { inside, words: `${label}${mark.words}` };
}

function thumb(picture) {
  const cells = picture.sides.map((side, place) => cell(side, state.metric, TWO ? ["before ", "after "][place] : ""));
  const prompt = DATA.prompts[picture.p];
  const seed = picture.s === null ? "" : `, seed ${picture.s}`;
  const button = make("button", {
    type: "button", class: "thumb", tabindex: "-1", "data-place": picture.place,
    "aria-label": `${prompt.text}, picture ${picture.i + 1}${seed}: ${cells.map((each) => each.words).join(", ")}`,
  }, ...cells.map((each) => each.inside));
  return button;
}

function why(prompt) {
  const notes = new Map();
  for (const picture of prompt.pictures) {
    if (shown.kept.has(picture)) for (const [scorer, note] of picture.sides[LAST].n) {
      const words = scorer ? `${scorer}: ${note}` : note;
      notes.set(words, (notes.get(words) || 0) + 1);
    }
  }
  const several = [...notes].sort((a, b) => b[1] - a[1]);
  const lines = several.slice(0, 3).map(([words, count]) => make("div", {}, count > 1 ? `${count} × ${words}` : words));
  return several.length > 3 ? [...lines, make("div", {}, `and ${several.length - 3} more`)] : lines;
}

function row(prompt) {
  const thumbs = prompt.pictures.map((picture) => {
    const button = thumb(picture);
    if (!shown.kept.has(picture)) button.classList.add("dim");
    return button;
  });
  const values = TWO
    ? [["before", number(promptMean(prompt, state.metric, 0))], ["after", number(promptMean(prompt, state.metric))], ["change", signed(promptChange(prompt, state.metric))]]
    : [["value", number(promptMean(prompt, state.metric))]];
  const verdict = TWO ? judged(state.metric, promptChange(prompt, state.metric)) : "";
  return make("tr", {},
    make("td", { class: "text" }, make("div", { class: "prompt" }, prompt.text), make("div", { class: "tag" }, prompt.tag)),
    make("td", {}, make("div", { class: "strip" }, ...thumbs)),
    ...values.map(([name, text]) => make("td", { class: `value ${name === "change" ? verdict : ""}`, "data-name": name }, text)),
    make("td", { class: "why" }, ...why(prompt)));
}

function tile(picture) {
  const button = thumb(picture);
  button.append(make("span", { class: "caption" }, DATA.prompts[picture.p].text));
  return button;
}

function drawMore() {
  const sheet = state.view === "sheet";
  const all = sheet ? shown.pictures : shown.prompts;
  const next = all.slice(shown.drawn, shown.drawn + (sheet ? 3 * CHUNK : CHUNK));
  (sheet ? find("sheet") : find("table").tBodies[0]).append(...next.map(sheet ? tile : row));
  shown.drawn += next.length;
  find("more").textContent = shown.drawn < all.length ? `${all.length - shown.drawn} more below` : "";
  return next.length > 0;
}

const HEADS = TWO
  ? [["prompt", "text", "text", null], ["pictures: before, after", "", null, null], ["before", "value", null, null], ["after", "value", "low", "high"], ["change", "value", "worst", "best"], ["note", "why", null, null]]
  : [["prompt", "text", "text", null], ["pictures", "", null, null], ["value", "value", "low", "high"], ["note", "why", null, null]];

function heads() {
  // In one evaluation "worst" and "best" are the value's two ends.
  const lower = sign(state.metric) < 0;
  const real = (name) => (TWO || !name ? name : { low: lower ? "best" : "worst", high: lower ? "worst" : "best" }[name] || name);
  const cells = HEADS.map(([words, kind, up, down]) => {
    const [rising, falling] = [real(up), real(down)];
    const head = make("th", { scope: "col", class: kind });
    if (!rising) { head.append(words); return head; }
    const swapped = TWO && words === "change" && lower; // the worst regression is then the greatest rise
    const now = state.sort === rising ? (swapped ? "descending" : "ascending") : state.sort === falling && falling ? (swapped ? "ascending" : "descending") : "none";
    head.setAttribute("aria-sort", now);
    const button = make("button", { type: "button" }, words);
    button.addEventListener("click", () => {
      change({ sort: state.sort === rising ? falling || "suite" : rising });
      [...find("table").tHead.rows[0].cells].find((each) => each.textContent === words).querySelector("button").focus();
    });
    head.append(button);
    return head;
  });
  find("table").tHead.rows[0].replaceChildren(...cells);
}

// Whether a scroll has brought the end of what is drawn near.
const sentinel = new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting)) {
    sentinel.unobserve(find("more"));
    if (drawMore()) sentinel.observe(find("more"));
  }
}, { rootMargin: "1200px" });

function draw() {
  select();
  shown.drawn = 0;
  find("table").tBodies[0].replaceChildren();
  find("sheet").replaceChildren();
  find("table").hidden = state.view === "sheet" || !shown.prompts.length;
  find("sheet").hidden = state.view !== "sheet";
  find("as-table").setAttribute("aria-pressed", state.view !== "sheet");
  find("as-sheet").setAttribute("aria-pressed", state.view === "sheet");
  heads();
  const total = `${shown.prompts.length} of ${DATA.prompts.length} prompts, ${shown.pictures.length} of ${DATA.pictures.length} ${TWO ? "pairs" : "pictures"}`;
  find("status").textContent = shown.pictures.length ? `${total}. Arrow keys move, Enter opens, / finds.` : `${total}. Nothing fits: loosen the filter.`;
  drawMore();
  const first = document.querySelector(".thumb");
  if (first) first.tabIndex = 0;
  sentinel.unobserve(find("more"));
  sentinel.observe(find("more"));
}

// ---- the tools

const option = (value, words) => make("option", { value }, words);

function fillTools() {
  find("metric").replaceChildren(...DATA.metrics.map((metric, place) => option(place, metric.name)));
  const tags = [...new Set(DATA.prompts.map((prompt) => prompt.tag))].filter(Boolean);
  find("tag").replaceChildren(option("", "all"), ...tags.map((tag) => option(tag, tag)));
  find("tag-label").hidden = tags.length < 2;
  find("sort").replaceChildren(...SORTS.map(([value, words]) => option(value, words)));
}

// The outcomes of the chosen metric with their counts among what the other filters leave.
function fillOutcomes() {
  const counts = {};
  const asked = state.show;
  state.show = "";
  for (const picture of DATA.pictures.filter(matches)) {
    const outcome = outcomeOf(picture, state.metric);
    counts[outcome] = (counts[outcome] || 0) + 1;
  }
  const known = outcomes(state.metric);
  state.show = known.some(([name]) => name === asked) ? asked : "";
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  find("show").replaceChildren(option("", `all (${all})`), ...known.map(([name, words]) => option(name, `${words} (${counts[name] || 0})`)));
}

let waiting = 0; // until typing pauses

// Bring state, tools, address and list together.
function change(changes) {
  clearTimeout(waiting);
  Object.assign(state, changes);
  if (!DATA.metrics[state.metric]) state.metric = 0;
  if (!SORTS.some(([name]) => name === state.sort)) state.sort = SORTS[0][0];
  fillOutcomes();
  for (const name of ["find", "metric", "show", "tag", "sort"]) if (find(name).value.trim() !== String(state[name])) find(name).value = state[name];
  if (find("tag").value !== state.tag) { state.tag = ""; find("tag").value = ""; }
  remember();
  draw();
}

// The address says what is shown, so that it can be sent to a colleague.
function remember() {
  const metric = DATA.metrics[state.metric] ? DATA.metrics[state.metric].name : "";
  const shown = { find: state.find, metric: state.metric ? metric : "", show: state.show, tag: state.tag,
    sort: state.sort === SORTS[0][0] ? "" : state.sort, view: state.view === "table" ? "" : state.view, open: state.open };
  const words = new URLSearchParams(Object.entries(shown).filter(([, value]) => value !== "")).toString();
  try { history.replaceState(null, "", words ? `#${words}` : location.pathname + location.search); } catch { /* some browsers keep file:// as it is */ }
}

function recall() {
  const address = new URLSearchParams(location.hash.slice(1));
  const metric = DATA.metrics.findIndex((each) => each.name === address.get("metric"));
  const text = (name) => address.get(name) || "";
  return { find: text("find"), metric: Math.max(0, metric), show: text("show"), tag: text("tag"), sort: text("sort"), view: text("view") === "sheet" ? "sheet" : "table", open: text("open") };
}

function look() {
  const words = find("find").value.trim();
  if (words !== state.find) change({ find: words });
}

function listen() {
  find("find").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(look, 120); });
  find("metric").addEventListener("change", () => change({ metric: Number(find("metric").value) }));
  for (const name of ["show", "tag", "sort"]) find(name).addEventListener("change", () => change({ [name]: find(name).value }));
  find("as-table").addEventListener("click", () => change({ view: "table" }));
  find("as-sheet").addEventListener("click", () => change({ view: "sheet" }));
  find("tools").addEventListener("submit", (event) => event.preventDefault());
  find("tools").addEventListener("reset", (event) => {
    event.preventDefault();
    change({ find: "", metric: 0, show: "", tag: "", sort: "" });
  });
  for (const button of document.querySelectorAll("[data-show], [data-find]")) {
    button.addEventListener("click", () => {
      change({ metric: 0, find: button.dataset.find || "", tag: button.dataset.tag || "", show: button.dataset.show || "" });
      find("pictures").scrollIntoView();
      find("pictures").focus({ preventScroll: true });
    });
  }
  const pick = find("tag-metric");
  if (pick) {
    const showBlock = () => { for (const block of document.querySelectorAll(".block")) block.hidden = block.dataset.metric !== pick.value; };
    pick.closest("p").hidden = false;
    pick.addEventListener("change", showBlock);
    showBlock();
  }
}

// ---- keys: one stop for Tab, arrows from there

function step(button, key) {
  const all = [...document.querySelectorAll(".thumb")];
  const place = all.indexOf(button);
  if (key === "ArrowRight" || key === "ArrowLeft") return all[place + (key === "ArrowRight" ? 1 : -1)];
  const here = button.getBoundingClientRect();
  const down = key === "ArrowDown";
  const rest = down ? all.slice(place + 1) : all.slice(0, Math.max(0, place)).reverse();
  const beyond = rest.filter((each) => { const top = each.getBoundingClientRect().top; return down ? top > here.top + 8 : top < here.top - 8; });
  if (!beyond.length) return undefined;
  const line = beyond[0].getBoundingClientRect().top;
  const distance = (each) => Math.abs(each.getBoundingClientRect().left - here.left);
  return beyond.filter((each) => Math.abs(each.getBoundingClientRect().top - line) <= 8).sort((a, b) => distance(a) - distance(b))[0];
}

function focusThumb(button) {
  for (const other of document.querySelectorAll('.thumb[tabindex="0"]')) other.tabIndex = -1;
  button.tabIndex = 0;
  button.focus({ preventScroll: true });
  button.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (find("viewer").open || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "/" && !event.target.matches("input, select, textarea")) {
    event.preventDefault();
    find("find").focus();
  }
  if (event.key === "Escape" && event.target === find("find")) change({ find: "" });
  if (event.target.matches(".thumb") && event.key.startsWith("Arrow")) {
    event.preventDefault();
    const next = step(event.target, event.key) || (event.key !== "ArrowLeft" && event.key !== "ArrowUp" && drawMore() && step(event.target, event.key));
    if (next) focusThumb(next);
  }
});
