"use strict";
// Draws the charts of profile.html from the figures in #profile-data. Latencies are milliseconds.
(() => {
  const data = JSON.parse(document.getElementById("profile-data").textContent);
  const root = document.documentElement;
  const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
  // What fits the text block on A4 and US Letter paper, CSS pixels: one chart in a row, and each of two.
  const PAPER_WIDTHS = [680, 330];
  const printing = () => root.classList.contains("printing");

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const figure = (value) => {
    const rounded = Number(value.toPrecision(3));
    const decimals = rounded === 0 ? 0 : Math.max(2 - Math.floor(Math.log10(Math.abs(rounded))), 0);
    return rounded.toFixed(decimals);
  };
  const count = (value) => value.toLocaleString("en");

  const axis = (label, more) => ({
    label, labelSize: 20, labelGap: 2, labelFont: FONT, font: FONT, size: 34, gap: 6,
    stroke: colour("--muted"), grid: { show: false },
    ticks: { stroke: colour("--line"), width: 1, size: 4 }, border: { show: true, stroke: colour("--line"), width: 1 },
    ...more,
  });
  // Wide enough for the longest label, so that "100,000" is not cut.
  const upAxis = (label, more) => axis(label, {
    size: (u, values) => 16 + 7.5 * Math.max(1, ...(values || []).map((value) => String(value ?? "").length)),
    grid: { show: true, stroke: colour("--line"), width: 1 }, border: { show: false }, ticks: { show: false }, ...more,
  });

  const base = (host, more) => ({
    width: printing() ? PAPER_WIDTHS[host.closest(".pair") ? 1 : 0] : host.clientWidth,
    height: printing() ? 220 : 260,
    legend: { show: false }, padding: [12, 14, 0, 0],
    cursor: { y: false, points: { size: 7 }, drag: { x: true, y: false } },
    ...more,
    hooks: { ...more.hooks, setCursor: [(u) => {
      const readout = document.getElementById(`${host.id}-readout`);
      readout.textContent = u.cursor.left >= 0 && u.cursor.idx != null ? more.readout(u) : "";
    }] },
  });

  // One bar for each bin, on whole pixels. All have a gap beside them or none has: a gap here and there looks like data.
  const binned = (u, series, first, last) => {
    const fill = new Path2D();
    const [edges, counts] = u.data;
    const floor = u.valToPos(0, "y", true);
    const at = (index) => Math.round(u.valToPos(edges[index], "x", true));
    const mean = u.valToPos(edges[1], "x", true) - u.valToPos(edges[0], "x", true);
    const gap = mean > 6 * devicePixelRatio ? devicePixelRatio : 0;
    for (let index = Math.max(first - 1, 0); index <= Math.min(last, edges.length - 2); index++) {
      const left = at(index);
      const top = Math.round(u.valToPos(counts[index], "y", true));
      if (counts[index]) fill.rect(left, top, at(index + 1) - left - gap, floor - top);
    }
    return { fill, stroke: null, clip: null, band: null, gaps: null, flags: 0 };
  };

  // Dashed lines at the percentiles, with their names above the plot; names that would meet are moved apart.
  const namedLines = (u) => {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    const [low, high] = [u.scales.x.min, u.scales.x.max];
    const shown = data.marks.filter(([, , value]) => value >= low && value <= high);
    ctx.save();
    ctx.font = FONT.replace("12px", `${12 * ratio}px`);
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    ctx.lineWidth = ratio;
    ctx.setLineDash([4 * ratio, 3 * ratio]);
    const gap = 8 * ratio;
    const widths = shown.map(([name]) => ctx.measureText(name).width);
    const lines = shown.map(([, , value]) => u.valToPos(value, "x", true));
    const lefts = lines.map((x, index) => x - widths[index] / 2);
    for (let index = 1; index < lefts.length; index++) {
      lefts[index] = Math.max(lefts[index], lefts[index - 1] + widths[index - 1] + gap);
    }
    let limit = bbox.left + bbox.width + 12 * ratio;
    for (let index = lefts.length - 1; index >= 0; index--) {
      lefts[index] = Math.min(lefts[index], limit - widths[index]);
      limit = lefts[index] - gap;
    }
    shown.forEach(([name], index) => {
      ctx.strokeStyle = colour("--ink");
      ctx.beginPath();
      ctx.moveTo(lines[index], bbox.top);
      ctx.lineTo(lines[index], bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillStyle = colour("--ink");
      ctx.fillText(name, lefts[index], bbox.top - 3 * ratio);
    });
    ctx.restore();
  };

  // Points on the cumulative line; their labels stand below it, where there is always room.
  const namedPoints = (u) => {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = FONT.replace("12px", `${12 * ratio}px`);
    ctx.textBaseline = "top";
    for (const [name, percent, value] of data.marks) {
      if (value < u.scales.x.min || value > u.scales.x.max) continue;
      const x = u.valToPos(value, "x", true);
      const y = u.valToPos(percent, "y", true);
      const label = `${name}  ${figure(value)} ms`;
      const fits = x + 10 * ratio + ctx.measureText(label).width < bbox.left + bbox.width;
      ctx.fillStyle = colour("--accent");
      ctx.strokeStyle = colour("--page");
      ctx.lineWidth = 2 * ratio;
      ctx.beginPath();
      ctx.arc(x, y, 4.5 * ratio, 0, 2 * Math.PI);
      ctx.fill();
      ctx.stroke();
      ctx.fillStyle = colour("--ink");
      ctx.textAlign = fits ? "left" : "right";
      ctx.fillText(label, fits ? x + 8 * ratio : x - 4 * ratio, y + 6 * ratio);
    }
    ctx.restore();
  };

  const asGiven = (u, low, high) => [low, high];

  const charts = {
    histogram: (host) => {
      const { edges, counts } = data.histogram;
      return new uPlot(base(host, {
        padding: [22, 14, 0, 0],
        scales: { x: { time: false, range: asGiven }, y: { range: (u, low, high) => [0, (high || 1) * 1.04] } },
        axes: [axis("frame to result, ms"), upAxis("frames", { values: (u, splits) => splits.map((v) => (v % 1 ? "" : count(v))) })],
        series: [{}, { fill: colour("--accent-2"), width: 0, paths: binned, points: { show: false } }],
        hooks: { draw: [namedLines] },
        readout: (u) => {
          const value = u.posToVal(u.cursor.left, "x");
          const bin = Math.min(Math.max(edges.findIndex((edge) => edge > value) - 1, 0), counts.length - 1);
          const share = figure((100 * counts[bin]) / data.frames);
          return `${figure(edges[bin])}–${figure(edges[bin + 1])} ms: ${count(counts[bin])} frames, ${share}%`;
        },
      }), [edges, [...counts, 0]], host);
    },

    ecdf: (host) => new uPlot(base(host, {
      padding: [22, 14, 0, 0],
      scales: { x: { time: false, range: asGiven }, y: { range: [0, 104] } },
      axes: [axis("frame to result, ms"), upAxis("frames, %", { splits: () => [0, 25, 50, 75, 100] })],
      series: [{}, {
        stroke: colour("--accent"), fill: colour("--tint"), width: 2,
        paths: uPlot.paths.stepped({ align: 1 }), points: { show: false },
      }],
      hooks: { draw: [namedPoints] },
      readout: (u) => `${figure(u.data[1][u.cursor.idx])}% within ${figure(u.data[0][u.cursor.idx])} ms`,
    }), [data.ecdf.latency, data.ecdf.percent], host),

    timeline: (host) => {
      const { first, lowest, median, highest, ceiling } = data.timeline;
      const single = first.length === data.frames;
      const above = first.map(() => null);
      for (const index of data.timeline.above) above[index] = ceiling;
      const clipped = [lowest, highest, median].map((values) => values.map((value) => Math.min(value, ceiling)));
      const dots = { show: true, size: 5, width: 0 };
      const range = (u, low, high) => {
        const margin = 0.06 * (high - low) || 0.05 * high || 1;
        return [Math.max(low - margin, 0), high + margin];
      };
      return new uPlot(base(host, {
        scales: { x: { time: false, range: (u, low, high) => (low < high ? [low, high] : [low - 1, high + 1]) }, y: { range } },
        axes: [
          axis("frame", { values: (u, splits) => splits.map((v) => (v % 1 ? "" : count(v))) }),
          upAxis("frame to result, ms"),
        ],
        series: [
          {},
          { width: 0, points: { show: false } },
          { width: 0, points: { show: false } },
          single
            ? { paths: () => null, points: { ...dots, size: 4, fill: colour("--accent") } }
            : { stroke: colour("--accent"), width: 1.5, points: { show: false } },
          { paths: () => null, points: { ...dots, fill: colour("--warning") } },
        ],
        bands: single ? [] : [{ series: [2, 1], fill: colour("--tint") }],
        readout: (u) => {
          const index = u.cursor.idx;
          if (single) return `frame ${count(first[index])}: ${figure(median[index])} ms`;
          const last = (first[index + 1] ?? data.frames + 1) - 1;
          const range = `${figure(lowest[index])}–${figure(highest[index])} ms`;
          return `frames ${count(first[index])}–${count(last)}: median ${figure(median[index])} ms, ${range}`;
        },
      }), [first, ...clipped, above], host);
    },
  };

  const hosts = Object.keys(charts).map((name) => document.getElementById(name));
  // A chart takes its colours when it is made, so a change of scheme makes all of them anew.
  const drawAll = () => {
    for (const host of hosts) {
      if (host.chart) host.chart.destroy();
      host.chart = charts[host.id](host);
    }
  };
  drawAll();

  const sizes = new ResizeObserver((entries) => {
    if (printing()) return;
    for (const { target } of entries) {
      const { chart, clientWidth } = target;
      if (clientWidth && chart.width !== clientWidth) chart.setSize({ width: clientWidth, height: chart.height });
    }
  });
  for (const host of hosts) sizes.observe(host);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    drawAll();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    drawAll();
  });
})();
