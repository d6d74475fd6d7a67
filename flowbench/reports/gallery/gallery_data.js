"use strict";
// What the page holds, and pure questions about it. Texts of others go onto the page as text nodes only, never as markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const THUMBNAILS = JSON.parse(document.getElementById("thumbnails").textContent);
const TWO = DATA.labels.length > 1;
const LAST = DATA.labels.length - 1;
const DASH = "–";

if (!DATA.metrics.length) { // an evaluation of the set alone: its pictures have no values, and are shown all the same
  DATA.metrics.push({ name: DASH, unit: "", direction: "none", verdict: false, right: 1 });
  for (const side of DATA.pictures.flatMap((picture) => picture.sides)) side.v = [null];
}

const find = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else element.setAttribute(key, value);
  }
  element.append(...children); // strings become text nodes
  return element;
}

DATA.pictures.forEach((picture, place) => {
  picture.place = place;
  const prompt = DATA.prompts[picture.p];
  const words = picture.sides.flatMap((side) => [...side.n.flat(), ...side.d.flat(), ...side.b.map((box) => box[0])]);
  picture.words = [prompt.text, prompt.id, prompt.tag, ...words].join("\n").toLowerCase();
  (prompt.pictures = prompt.pictures || []).push(picture);
});
DATA.prompts.forEach((prompt, place) => { prompt.place = place; });

const number = (value) => (value === null || Number.isNaN(value) ? DASH : value.toFixed(3));
const signed = (value) => (value === null || Number.isNaN(value) ? DASH : (value > 0 ? "+" : "") + value.toFixed(3));
const sign = (metric) => (DATA.metrics[metric].direction === "lower" ? -1 : 1);
// "better", "worse" or "" of a difference.
const judged = (metric, difference) => (!difference || DATA.metrics[metric].direction === "none" ? "" : difference * sign(metric) > 0 ? "better" : "worse");

// A picture's value on a side; null is unscored.
const valueOf = (picture, metric, side = LAST) => picture.sides[side].v[metric];

// Candidate minus baseline; null unless both are scored.
function changeOf(picture, metric) {
  const was = valueOf(picture, metric, 0), now = valueOf(picture, metric);
  return was === null || now === null ? null : now - was;
}

function mean(values) {
  const scored = values.filter((value) => value !== null);
  return scored.length ? scored.reduce((sum, value) => sum + value, 0) / scored.length : null;
}

const promptMean = (prompt, metric, side = LAST) => mean(prompt.pictures.map((each) => valueOf(each, metric, side)));
const promptChange = (prompt, metric) => mean(prompt.pictures.map((each) => changeOf(each, metric)));

// What one can filter by: [name, words]; it depends on whether the metric is a verdict.
function outcomes(metric) {
  const verdict = DATA.metrics[metric].verdict;
  if (TWO && verdict) {
    return [["broken", "broken"], ["mended", "mended"], ["stayed_right", "stayed right"], ["stayed_wrong", "stayed wrong"], ["unscored", "unscored"]];
  }
  if (TWO) {
    const [down, up] = DATA.metrics[metric].direction === "none" ? ["fell", "rose"] : ["worse", "better"];
    return [["worse", down], ["better", up], ["same", "unchanged"], ["unscored", "unscored"]];
  }
  if (verdict) return [["right", "correct"], ["wrong", "wrong"], ["unscored", "unscored"]];
  return [["scored", "scored"], ["unscored", "unscored"]];
}

function outcomeOf(picture, metric) {
  const { verdict, right } = DATA.metrics[metric];
  const now = valueOf(picture, metric);
  if (!TWO) {
    if (now === null) return "unscored";
    return verdict ? (now === right ? "right" : "wrong") : "scored";
  }
  const was = valueOf(picture, metric, 0);
  if (was === null || now === null) return "unscored";
  if (verdict) return was === right ? (now === right ? "stayed_right" : "broken") : (now === right ? "mended" : "stayed_wrong");
  const change = (now - was) * sign(metric);
  return change < 0 ? "worse" : change > 0 ? "better" : "same";
}

// {text, kind} of a value under a picture: a tick, a cross, a number, a dash.
function markOf(value, metric) {
  if (value === null) return { text: DASH, kind: "", words: "unscored" };
  const { verdict, right } = DATA.metrics[metric];
  if (!verdict) return { text: number(value), kind: "", words: number(value) };
  return value === right ? { text: "✓", kind: "right", words: "correct" } : { text: "✗", kind: "wrong", words: "wrong" };
}
