"use strict";
// Everything is asked for, nothing is pushed: a slow network gets fewer pictures, and none wait for it anywhere.

const STATUS_MS = 1000;
const RETRY_MS = 2000;
// Browsers open six connections to a server; one is for the status.
const PICTURES_AT_A_TIME = 4;
const HISTORY = 600;
const TONES = { running: "ok", connecting: "warning", lost: "error", ended: "plain", failing: "error", closed: "plain" };
const QUANTITIES = ["temperature", "power", "load", "frequency", "memory"];

const find = (id) => document.getElementById(id);
const copy = (id) => find(id).content.firstElementChild.cloneNode(true);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const setText = (element, text) => { if (element.textContent !== text) element.textContent = text; };

function figure(value) {
  if (value === null || value === undefined) return "\u2013";
  const size = Math.abs(value);
  return value.toFixed(size >= 100 || value === 0 ? 0 : size >= 10 ? 1 : 2);
}

function whole(value) {
  return value.toLocaleString("en").replaceAll(",", "\u202f");
}

function span(seconds) {
  const rest = Math.max(0, Math.round(seconds));
  const [d, h, m, s] = [Math.floor(rest / 86400), Math.floor(rest / 3600) % 24, Math.floor(rest / 60) % 60, rest % 60];
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${s} s` : `${s} s`;
}

function setFigure(element, value, unit) {
  const text = figure(value);
  if (element.dataset.shown === text) return;
  element.dataset.shown = text;
  element.textContent = text;
  if (unit && value !== null && value !== undefined) {
    element.append(Object.assign(document.createElement("small"), { textContent: unit }));
  }
}

// A chart over time whose lines are named; it follows its box and the colour scheme.
class Chart {
  constructor(host, names, options = {}) {
    [this.host, this.names, this.options] = [host, names, options];
    this.data = [[], ...names.map(() => [])];
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(host);
    this.draw();
  }

  draw() {
    this.plot?.destroy();
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const time = (seconds, step) => new Date(seconds * 1000).toTimeString().slice(0, step < 60 ? 8 : 5);
    this.plot = new uPlot({
      ...this.size(),
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: true }, y: { range: (_, low, high) => this.range(low, high) } },
      axes: [
        { ...axis, space: 70, size: 24, gap: 4, values: (_, ticks, __, ___, step) => ticks.map((tick) => time(tick, step)) },
        { ...axis, size: 44, gap: 4, space: 26, values: (_, ticks) => ticks.map((tick) => (tick >= 10000 ? `${tick / 1000}k` : `${tick}`)) },
      ],
      series: [{}, ...this.names.map((name, index) => ({ label: name, stroke: colour(`--series-${(index % 6) + 1}`), width: 1.5, points: { show: false } }))],
    }, this.data, this.host);
  }

  range(low, high) {
    if (low === null || high === null) return [0, this.options.most ?? 1];
    if (this.options.most) return [0, this.options.most];
    if (this.options.near && high - low < high / 2) {
      const room = Math.max((high - low) * 0.2, 1);
      return [Math.floor(low - room), Math.ceil(high + room)];
    }
    return [0, high * 1.15 || 1];
  }

  size() {
    return { width: Math.max(this.host.clientWidth, 50), height: Math.max(this.host.clientHeight, 50) };
  }

  fit() {
    const size = this.size();
    if (size.width !== this.plot.width || size.height !== this.plot.height) this.plot.setSize(size);
  }

  set(times, columns) {
    this.data = [times, ...columns];
    this.plot.setData(this.data);
  }

  remove() {
    this.observer.disconnect();
    this.plot.destroy();
  }
}

class Tile {
  constructor(name) {
    this.name = name;
    this.element = copy("tile");
    this.part = (selector) => this.element.querySelector(selector);
    this.part(".name").textContent = name || "source";
    this.part(".picture").setAttribute("aria-label", `Newest picture of ${name || "the source"}, with what was found`);
    find("sources").append(this.element);
    this.chart = new Chart(this.part(".plot"), ["p50", "p99"]);
    this.number = 0;
    this.state = "connecting";
    this.visible = true;
    this.observer = new IntersectionObserver(([entry]) => { this.visible = entry.isIntersecting; });
    this.observer.observe(this.element);
  }

  update(source, now) {
    this.state = source.state;
    const tone = TONES[source.state];
    this.element.dataset.tone = tone;
    const chip = this.part(".state");
    chip.dataset.tone = tone;
    setText(chip, source.state);
    const since = source.since === null ? "" : ` for ${span(now - source.since)}`;
    const reason = source.reason ? `${source.reason[0].toUpperCase()}${source.reason.slice(1)}` : "";
    const lost = source.state !== "running" && (source.state !== "ended" || reason);
    setText(this.part(".notice"), lost ? `${source.state[0].toUpperCase()}${source.state.slice(1)}${since}\n${reason}`.trim() : "");
    setFigure(this.part("[data-figure=fps]"), source.fps);
    setFigure(this.part("[data-figure=p50]"), source.age_p50_ms, "ms");
    setFigure(this.part("[data-figure=p99]"), source.age_p99_ms, "ms");
    const drops = Object.values(source.dropped).reduce((sum, count) => sum + count, 0);
    const percent = source.received ? (100 * drops) / source.received : 0;
    setFigure(this.part("[data-figure=dropped]"), percent, "%");
    const places = Object.entries(source.dropped).filter(([, count]) => count).map(([place, count]) => `${whole(count)} ${place}`);
    setText(this.part(".counts"), [
      `${whole(source.processed)} of ${whole(source.received)} frames`,
      places.length ? `dropped: ${places.join(", ")}` : "none dropped",
      source.reconnects ? `${whole(source.reconnects)} reconnects` : "",
      source.unlike_percent === null ? "" : `${figure(source.unlike_percent)}% unlike the training pictures`,
    ].filter(Boolean).join(" \u00b7 "));
  }

  async show() {
    const canvas = this.part(".picture");
    const width = Math.round(this.part(".view").clientWidth * Math.min(devicePixelRatio, 2));
    const query = new URLSearchParams({ source: this.name, after: this.number, width });
    const answer = await fetch(`/picture?${query}`);
    if (answer.status !== 200) return answer.status === 204;
    const bitmap = await createImageBitmap(await answer.blob());
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    this.part(".view").dataset.filled = "";
    this.number = Number(answer.headers.get("x-number"));
    canvas.dataset.number = this.number;
    return true;
  }

  get wanted() {
    return this.visible && !document.hidden && (this.state === "running" || !this.number);
  }

  remove() {
    this.chart.remove();
    this.observer.disconnect();
    this.element.remove();
  }
}

const tiles = new Map();
const charts = new Map();
let run = "";
let last = 0;
let seconds = empty();

function empty() {
  return { time: [], sources: {}, readings: {} };
}

function begin(document_) {
  for (const tile of tiles.values()) tile.remove();
  for (const chart of charts.values()) { chart.plot.remove(); chart.element.remove(); }
  tiles.clear();
  charts.clear();
  [run, seconds] = [document_.run, empty()];
  setText(find("title"), document_.title || "edgecnn");
  document.title = `${document_.title || "run"} \u2013 edgecnn`;
}

// Columns of later samples behind those of earlier ones; a name that was not there before has no values there.
function append(into, more, before, count) {
  for (const name of new Set([...Object.keys(into), ...Object.keys(more)])) {
    const old = into[name] ?? Array(before).fill(null);
    into[name] = [...old, ...(more[name] ?? Array(count).fill(null))].slice(-HISTORY);
  }
}

function remember(history) {
  const [before, count] = [seconds.time.length, history.time.length];
  if (!count) return;
  for (const [name, columns] of Object.entries(history.sources)) append(seconds.sources[name] ??= {}, columns, before, count);
  append(seconds.readings, history.readings, before, count);
  seconds.time = [...seconds.time, ...history.time].slice(-HISTORY);
}

function showSources(document_) {
  for (const [name, source] of Object.entries(document_.sources)) {
    if (!tiles.has(name)) tiles.set(name, new Tile(name));
    const tile = tiles.get(name);
    tile.update(source, document_.now);
    const columns = seconds.sources[name];
    if (columns) tile.chart.set(seconds.time, [columns.age_p50_ms, columns.age_p99_ms]);
  }
}

function showReadings(units) {
  const groups = new Map();
  for (const [name, unit] of Object.entries(units)) {
    const key = `${unit.quantity} ${unit.unit}`;
    if (!groups.has(key)) groups.set(key, { ...unit, names: [] });
    groups.get(key).names.push(name);
  }
  find("board").hidden = !groups.size;
  const rank = (group) => (QUANTITIES.indexOf(group.quantity) + QUANTITIES.length + 1) % (QUANTITIES.length + 1);
  for (const [key, group] of [...groups].sort(([, a], [, b]) => rank(a) - rank(b))) {
    let chart = charts.get(key);
    if (chart && chart.names.join() !== group.names.join()) {
      chart.plot.remove();
      chart.element.remove();
      chart = undefined;
    }
    if (!chart) {
      const element = copy("chart");
      setText(element.querySelector(".quantity"), group.quantity.replaceAll("_", " "));
      setText(element.querySelector(".unit"), group.unit);
      find("readings").append(element);
      const options = { most: group.unit === "%" ? 100 : undefined, near: group.quantity === "temperature" };
      chart = { element, names: group.names, plot: new Chart(element.querySelector(".plot"), group.names, options) };
      element.querySelector(".legend").append(...group.names.map((name) => {
        const line = document.createElement("li");
        line.append(`${units[name].part.replaceAll("_", " ")} `, document.createElement("b"));
        return line;
      }));
      charts.set(key, chart);
    }
    const columns = group.names.map((name) => seconds.readings[name] ?? []);
    chart.plot.set(seconds.time, columns);
    chart.element.querySelectorAll(".legend b").forEach((value, index) => setText(value, figure(columns[index].at(-1))));
  }
}

function showSinks(sinks) {
  const list = find("sinks");
  const names = Object.keys(sinks);
  find("outputs").hidden = !names.length;
  while (list.children.length > names.length) list.lastElementChild.remove();
  while (list.children.length < names.length) list.append(copy("sink"));
  names.forEach((name, index) => {
    const [line, sink] = [list.children[index], sinks[name]];
    const chip = line.querySelector(".state");
    chip.dataset.tone = TONES[sink.state];
    setText(chip, sink.state);
    setText(line.querySelector(".name"), name);
    setText(line.querySelector(".reason"), sink.reason);
    const counts = [`${whole(sink.written)} written`];
    if (sink.waiting) counts.push(`${whole(sink.waiting)} waiting`);
    if (sink.dropped) counts.push(`${whole(sink.dropped)} dropped`);
    setText(line.querySelector(".counts"), counts.join(" \u00b7 "));
  });
}

function connection(tone, text, banner = "") {
  const chip = find("connection");
  chip.dataset.tone = tone;
  setText(chip, text);
  setText(find("banner"), banner);
  find("banner").hidden = !banner;
  document.body.classList.toggle("stale", tone === "error");
}

async function askStatus() {
  const answer = await fetch(`/status?${new URLSearchParams({ run, after: last })}`);
  if (answer.status === 401) {
    connection("error", "locked", "The run has begun anew and wants another token: open the link that it has printed.");
    return RETRY_MS;
  }
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const document_ = await answer.json();
  if (document_.run !== run) begin(document_);
  last = document_.last;
  remember(document_.history);
  connection("ok", "live");
  setText(find("uptime"), `up ${span(document_.seconds)}`);
  showSources(document_);
  showReadings(document_.units);
  showSinks(document_.sinks);
  return STATUS_MS;
}

async function watchStatus() {
  for (;;) {
    let wait = RETRY_MS;
    try {
      wait = await askStatus();
    } catch {
      connection("error", "not reachable", "The run cannot be reached. It has ended, or the network is gone; the page goes on by itself when it is back.");
    }
    await pause(document.hidden ? 5 * wait : wait);
  }
}

// Each goes from tile to tile, taking the one that was not asked for the longest.
async function watchPictures() {
  for (;;) {
    const tile = [...tiles.values()].filter((each) => each.wanted && !each.asking).sort((a, b) => (a.asked ?? 0) - (b.asked ?? 0))[0];
    if (!tile) {
      await pause(100);
      continue;
    }
    tile.asking = true;
    let shown = false;
    try {
      shown = await tile.show();
    } catch { /* the status says that nobody answers */ }
    tile.asked = performance.now();
    tile.asking = false;
    if (!shown) await pause(RETRY_MS);
  }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const tile of tiles.values()) tile.chart.draw();
  for (const chart of charts.values()) chart.plot.draw();
});
watchStatus();
for (let index = 0; index < PICTURES_AT_A_TIME; index += 1) watchPictures();
