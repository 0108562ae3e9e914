// A run while it trains, from server-sent events. Every text of the run stays text.

const KEY = "codeling-watch-token";
const MAX_POINTS = 3000;
const SVG = "http://www.w3.org/2000/svg";
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;

const byId = (id) => document.getElementById(id);
let steps = [];
let validations = [];
let age = null;

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function svg(name, properties, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const visible = (text) => text.replace(INVISIBLE, (c) => `‹U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}›`);
const short = (value) => (value >= 1e6 ? `${(value / 1e6).toPrecision(3)}M` : value >= 1e4 ? `${Math.round(value / 1e3)}k` : value.toLocaleString("en", { maximumFractionDigits: 0 }));

function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

/** The last points cover some steps at once if the past was thinned; rates are over them all. */
function secondsPerStep() {
  const last = steps.at(-1);
  const first = steps.at(-Math.min(50, steps.length));
  return last.step > first.step ? (last.seconds - first.seconds) / (last.step - first.step) : null;
}

function showTiles() {
  const last = steps.at(-1);
  if (!last) return;
  const best = validations.at(-1);
  const perStep = secondsPerStep();
  const isDone = last.num_steps && last.step >= last.num_steps;
  const left = perStep && last.num_steps ? (last.num_steps - last.step) * perStep : null;
  const recent = steps.slice(-50);
  const rate = recent.map((line) => line.tokens_per_second).sort((a, b) => a - b)[recent.length >> 1];
  const losses = recent.map((line) => line.loss).filter((loss) => loss !== null);
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  const tiles = [
    ["Step", last.step.toLocaleString("en"), last.num_steps ? `of ${last.num_steps.toLocaleString("en")}` : ""],
    ["Loss", mean.toFixed(3), "nats per token, mean of the last points"],
    ["Bits per byte", best ? best.bits_per_byte.toFixed(3) : "–", best ? `validation at step ${best.step.toLocaleString("en")}` : "not validated yet"],
    ["Tokens per second", short(rate), `${short(last.tokens)} tokens read`],
    ["Time left", isDone ? "0 s" : left === null ? "–" : duration(left), `${duration(last.seconds)} so far`],
  ];
  byId("tiles").replaceChildren(
    ...tiles.map(([label, value, more]) => element("div", {}, element("dt", {}, label), element("dd", {}, value, element("span", { class: "more" }, more)))),
  );
  byId("progress").value = last.num_steps ? last.step / last.num_steps : 0;
  document.title = `${isDone ? "✓" : `${Math.floor((100 * last.step) / (last.num_steps || Infinity))} %`} ${byId("name").textContent} · codeling watch`;
}

function showState() {
  const last = steps.at(-1);
  const state = byId("state");
  state.className = "summary";
  if (!last) state.textContent = "The run has not trained a step yet; this page waits for it.";
  else if (last.num_steps && last.step >= last.num_steps) state.textContent = "The training is finished.";
  else if (age !== null && age > 60) state.textContent = `No step for ${duration(age)}: the run was stopped, or it evaluates. The same command continues it.`;
  else state.textContent = "The run is training.";
}

const quantile = (values, share) => [...values].sort((a, b) => a - b)[Math.floor(share * (values.length - 1))];

/** Exponential mean of each point and those before it, corrected for its start. */
function smoothed(points) {
  const weight = Math.max(0.03, 4 / Math.max(4, points.length));
  let [sum, total] = [0, 0];
  return points.map(([x, y]) => {
    sum = (1 - weight) * sum + weight * y;
    total = (1 - weight) * total + weight;
    return [x, sum / total];
  });
}

function niceTicks(low, high, count) {
  const raw = (high - low) / count || 1;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * size).find((each) => each >= raw);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) ticks.push(Number(value.toPrecision(8)));
  return ticks;
}

function plot(title, unit, curves, isWide) {
  const [width, height, left, bottom] = [360, 200, 46, 22];
  const all = curves.flatMap((curve) => curve.points);
  const figure = element("figure", { class: isWide ? "card wide" : "card" }, element("figcaption", {}, title, " ", element("span", {}, unit)));
  if (!all.length) return figure.append(element("p", { class: "quiet" }, "No value yet.")), figure;
  const ys = all.map(([, y]) => y);
  const xMax = Math.max(...all.map(([x]) => x), 1);
  let low = Math.min(...ys);
  let high = quantile(ys, 0.99);
  if (high - low < 1e-9) [low, high] = [low - 0.5, high + 0.5];
  const margin = (high - low) * 0.06;
  [low, high] = [low - margin, high + margin];
  const x = (value) => left + ((width - left - 6) * value) / xMax;
  const y = (value) => 6 + (height - bottom - 6) * (1 - (Math.min(value, high) - low) / (high - low));
  const label = curves.map((curve) => `${curve.name}: last value ${curve.points.at(-1)?.[1].toPrecision(4) ?? "none"}`).join("; ");
  const image = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. ${label}` });
  for (const tick of niceTicks(low, high, 4)) {
    image.append(svg("line", { class: "axis", x1: left, x2: width - 6, y1: y(tick), y2: y(tick) }), svg("text", { class: "tick", x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick >= 1e4 ? short(tick) : String(tick)));
  }
  for (const tick of niceTicks(0, xMax, 4).filter(Number.isInteger)) {
    image.append(svg("text", { class: "tick", x: x(tick), y: height - 4, "text-anchor": "middle" }, short(tick)));
  }
  for (const { points, kind } of curves) {
    const path = points.map(([px, py], index) => `${index ? "L" : "M"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("");
    image.append(svg("path", { class: `curve ${kind}`, d: path }));
    if (kind === "second") for (const [px, py] of points) image.append(svg("circle", { class: "dot", cx: x(px), cy: y(py), r: 2.6 }));
  }
  figure.append(image);
  return figure;
}

function showPlots() {
  const loss = steps.filter((line) => line.loss !== null).map((line) => [line.step, line.loss]);
  const rate = steps.map((line) => [line.step, line.tokens_per_second]);
  const validation = validations.map((line) => [line.step, line.loss]);
  const bits = validations.map((line) => [line.step, line.bits_per_byte]);
  byId("plots").replaceChildren(
    plot("Loss", "nats per token; dots: validation", [
      { name: "each step", points: loss, kind: "faint" },
      { name: "smoothed", points: smoothed(loss), kind: "" },
      { name: "validation", points: validation, kind: "second" },
    ]),
    plot("Bits per byte", "validation", [{ name: "validation", points: bits, kind: "second" }]),
    plot("Tokens per second", "", [{ name: "each step", points: rate, kind: "faint" }, { name: "smoothed", points: smoothed(rate), kind: "" }]),
  );
}

let drawing = 0;
function draw() {
  if (drawing) return;
  drawing = setTimeout(() => {
    drawing = 0;
    showTiles();
    showState();
    showPlots();
  }, 120);
}

function add(lines) {
  for (const line of lines) {
    if (line.kind === "step") steps.push(line);
    if (line.kind === "validation") validations.push(line);
  }
  if (steps.length > MAX_POINTS) steps = steps.filter((_, index) => index % 2 === steps.length % 2 || index > steps.length - 100);
}

const handlers = {
  history({ name, lines }) {
    [steps, validations] = [[], []];
    byId("name").textContent = visible(name);
    add(lines);
    draw();
  },
  points({ lines }) {
    age = 0;
    add(lines);
    draw();
  },
  state({ age_seconds }) {
    age = age_seconds;
    draw();
  },
  sample({ step, prompt, completion }) {
    byId("sample").replaceChildren(
      element("p", { class: "quiet" }, `at step ${step.toLocaleString("en")}`),
      element("pre", { tabindex: "0" }, element("code", {}, element("span", { class: "prompt" }, visible(prompt)), element("mark", {}, visible(completion)))),
    );
  },
  rows({ step, rows }) {
    const shown = rows.map((row) =>
      element("pre", { tabindex: "0" }, element("code", {}, ...row.map((piece) => (piece.special ? element("span", { class: "special" }, piece.special) : visible(piece.text))))),
    );
    byId("rows").replaceChildren(element("p", { class: "quiet" }, `at step ${step.toLocaleString("en")}; special tokens are framed`), ...shown);
  },
};

/** Read the stream until it ends. EventSource cannot send the token in a header. */
async function follow(token) {
  const response = await fetch("events", { headers: { Authorization: `Bearer ${token}` } });
  if (!response.ok) throw new Error(response.status === 401 ? "The token is not valid: open the address that codeling watch printed." : `status ${response.status}`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += value;
    const events = buffer.split("\n\n");
    buffer = events.pop();
    for (const event of events) {
      const data = JSON.parse(event.slice("data: ".length));
      handlers[data.kind]?.(data);
    }
  }
}

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname);
}
for (;;) {
  let message = "The server has ended; the curve stays. Start codeling watch again to continue.";
  try {
    await follow(sessionStorage.getItem(KEY) ?? "");
  } catch (error) {
    if (!(error instanceof TypeError)) message = error.message;
  }
  byId("state").textContent = message;
  byId("state").className = "summary failed";
  await new Promise((resolve) => setTimeout(resolve, 2000));
}
