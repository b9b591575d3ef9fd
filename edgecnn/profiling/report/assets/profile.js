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
    legend: { show: false }, padding: [12, 14, 0, 0],
    cursor: { y: false, points: { size: 7 }, drag: { x: true, y: false } },
    ...more, height: Math.min(more.height || 260, printing() ? 220 : 400),
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
      // Where there is no room to the right of a point, its label stands above the line, at the plot's edge.
      ctx.textAlign = fits ? "left" : "right";
      ctx.fillText(label, fits ? x + 8 * ratio : bbox.left + bbox.width, fits ? y + 6 * ratio : bbox.top - 16 * ratio);
    }
    ctx.restore();
  };

  const spanned = (u, low, high) => (low < high ? [low, high] : [low - 1, high + 1]);
  const isPower = (value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;
  const plain = (value) => (value >= 1 ? count(value) : String(Number(value.toPrecision(1))));
  // Names beside their colours, above a chart of several lines.
  const legend = (host, rows) => {
    const heading = host.parentElement.querySelector("h3");
    heading.replaceChildren(...rows.flatMap(([name, line]) => {
      const item = document.createElement("span");
      const swatch = document.createElement("i");
      item.className = "key";
      swatch.className = "swatch";
      swatch.style.background = colour(line);
      item.append(swatch, name);
      return [item, " "];
    }));
  };
  // Charts over the same seconds stand below each other, so what is left of the plot is as wide in all of them.
  const OVER_TIME = 66;
  const asGiven = (u, low, high) => [low, high];

  const charts = {
    histogram: (host) => {
      const { edges, counts } = data.histogram;
      return new uPlot(base(host, {
        padding: [22, 14, 0, 0],
        scales: { x: { time: false, range: asGiven }, y: { range: (u, low, high) => [0, (high || 1) * 1.04] } },
        axes: [axis("latency, ms"), upAxis("samples", { values: (u, splits) => splits.map((v) => (v % 1 ? "" : count(v))) })],
        series: [{}, { fill: colour("--accent-2"), width: 0, paths: binned, points: { show: false } }],
        hooks: { draw: [namedLines] },
        readout: (u) => {
          const value = u.posToVal(u.cursor.left, "x");
          const bin = Math.min(Math.max(edges.findIndex((edge) => edge > value) - 1, 0), counts.length - 1);
          const share = figure((100 * counts[bin]) / data.frames);
          return `${figure(edges[bin])}–${figure(edges[bin + 1])} ms: ${count(counts[bin])} samples, ${share}%`;
        },
      }), [edges, [...counts, 0]], host);
    },

    ecdf: (host) => new uPlot(base(host, {
      padding: [22, 14, 0, 0],
      scales: { x: { time: false, range: asGiven }, y: { range: [0, 104] } },
      axes: [axis("latency, ms"), upAxis("samples, %", { splits: () => [0, 25, 50, 75, 100] })],
      series: [{}, {
        stroke: colour("--accent"), fill: colour("--tint"), width: 2,
        paths: uPlot.paths.stepped({ align: 1 }), points: { show: false },
      }],
      hooks: { draw: [namedPoints] },
      readout: (u) => `${figure(u.data[1][u.cursor.idx])}% within ${figure(u.data[0][u.cursor.idx])} ms`,
    }), [data.ecdf.latency, data.ecdf.percent], host),

    timeline: (host) => {
      const { seconds, count: counts, lowest, median, p99, highest, rounds, ceiling, above } = data.timeline;
      const single = counts.every((samples) => samples === 1);
      // Between two rounds the line breaks: at a place of its own, where all series are null.
      const places = [];
      seconds.forEach((second, index) => {
        if (index && rounds[index] !== rounds[index - 1]) places.push([(second + seconds[index - 1]) / 2, -1]);
        places.push([second, index]);
      });
      const pick = (values) => places.map(([, index]) => (index < 0 ? null : Math.min(values[index], ceiling)));
      const dotted = new Set(above);
      const dots = { show: true, size: 5, width: 0 };
      const range = (u, low, high) => {
        const margin = 0.06 * (high - low) || 0.05 * high || 1;
        return [Math.max(low - margin, 0), high + margin];
      };
      return new uPlot(base(host, {
        scales: { x: { time: false, range: spanned }, y: { range } },
        axes: [axis("seconds"), upAxis("latency, ms", { size: OVER_TIME })],
        series: [
          {},
          { width: 0, points: { show: false } },
          { width: 0, points: { show: false } },
          single
            ? { paths: () => null, points: { ...dots, size: 4, fill: colour("--accent") } }
            : { stroke: colour("--accent"), width: 1.5, points: { show: counts.length < 40, size: 4, fill: colour("--accent") } },
          { paths: () => null, points: { ...dots, fill: colour("--warning") } },
        ],
        bands: single ? [] : [{ series: [2, 1], fill: colour("--tint") }],
        readout: (u) => {
          const index = places[u.cursor.idx][1];
          if (index < 0) return "";
          const at = `${figure(seconds[index])} s`;
          if (single) return `${at}: ${figure(median[index])} ms`;
          const span = `${figure(lowest[index])}–${figure(highest[index])} ms`;
          return `${at}, ${count(counts[index])} samples: median ${figure(median[index])}, p99 ${figure(p99[index])}, ${span}`;
        },
      }), [
        places.map(([second]) => second), pick(lowest), pick(highest), pick(median),
        places.map(([, index]) => (dotted.has(index) ? ceiling : null)),
      ], host);
    },

    roofline: (host) => {
      const { names, intensity, rate, part, roofs } = data.roofline;
      const order = intensity.map((_, index) => index).sort((a, b) => intensity[a] - intensity[b]);
      const sorted = (values) => order.map((index) => values[index]);
      const reach = (values, more) => {
        const all = [...values, ...more].filter((value) => value > 0);
        return [Math.min(...all) / 2, Math.max(...all) * 2];
      };
      const ridge = roofs ? roofs[0] / roofs[1] : null;
      const xs = reach(intensity, roofs ? [ridge] : []);
      const ys = reach(rate, roofs ? [roofs[0]] : []);
      const roof = (u) => {
        if (!roofs) return;
        const { ctx } = u;
        const at = (x, y) => [u.valToPos(x, "x", true), u.valToPos(y, "y", true)];
        ctx.save();
        ctx.beginPath();
        ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
        ctx.clip();
        ctx.strokeStyle = colour("--ink");
        ctx.lineWidth = 1.5 * devicePixelRatio;
        ctx.beginPath();
        ctx.moveTo(...at(xs[0], xs[0] * roofs[1]));
        ctx.lineTo(...at(ridge, roofs[0]));
        ctx.lineTo(...at(xs[1], roofs[0]));
        ctx.stroke();
        ctx.fillStyle = colour("--muted");
        ctx.font = FONT.replace("12px", `${12 * devicePixelRatio}px`);
        ctx.textAlign = "right";
        const [right, top] = at(xs[1], roofs[0]);
        ctx.fillText(`${count(Math.round(roofs[0]))} GOP/s`, right - 6 * devicePixelRatio, top + 16 * devicePixelRatio);
        ctx.restore();
      };
      const discs = (u) => {
        const { ctx } = u;
        const ratio = devicePixelRatio;
        ctx.save();
        u.data[0].forEach((x, index) => {
          const size = (3 + 22 * Math.sqrt(sorted(part)[index])) * ratio;
          ctx.beginPath();
          ctx.arc(u.valToPos(x, "x", true), u.valToPos(u.data[1][index], "y", true), size / 2 + 1, 0, 2 * Math.PI);
          ctx.fillStyle = colour("--tint");
          ctx.strokeStyle = colour("--accent");
          ctx.lineWidth = 1.5 * ratio;
          ctx.fill();
          ctx.stroke();
        });
        ctx.restore();
      };
      const logs = {
        filter: (u, splits) => splits,
        values: (u, splits) => splits.map((value) => (isPower(value) ? plain(value) : "")),
      };
      const decades = { show: true, stroke: colour("--line"), width: 1, filter: (u, splits) => splits.map((value) => (isPower(value) ? value : null)) };
      return new uPlot(base(host, {
        height: 320,
        scales: { x: { time: false, distr: 3, range: () => xs }, y: { distr: 3, range: () => ys } },
        axes: [axis("operations a byte", logs), upAxis("GOP/s", { ...logs, grid: decades })],
        series: [{}, { paths: () => null, points: { show: false } }],
        hooks: { draw: [roof, discs] },
        readout: (u) => {
          const index = order[u.cursor.idx];
          return `${names[index]}: ${figure(rate[index])} GOP/s at ${figure(intensity[index])} a byte, ${figure(100 * part[index])}%`;
        },
      }), [sorted(intensity), sorted(rate)], host);
    },
  };
  if (!data.roofline) delete charts.roofline;

  // One chart for each unit, under the timeline and over the same seconds.
  const LINES = ["--accent", "--warning", "--ok", "--error", "--muted", "--accent-2"];
  data.sensors.forEach(({ unit, series }, index) => {
    charts[`sensor-${index}`] = (host) => {
      const joined = uPlot.join(series.map((each) => [each.seconds, each.values]));
      const last = data.timeline.seconds[data.timeline.seconds.length - 1];
      const chart = new uPlot(base(host, {
        height: 150,
        scales: { x: { time: false, range: (u, low, high) => spanned(u, Math.min(low, 0), Math.max(high, last)) } },
        axes: [axis("seconds"), upAxis(unit, { size: OVER_TIME })],
        series: [{}, ...series.map((each, at) => ({
          label: each.name, stroke: colour(LINES[at % LINES.length]), width: 1.5, spanGaps: false, points: { show: false },
        }))],
        readout: (u) => series
          .map((each, at) => [each.name, u.data[at + 1][u.cursor.idx]])
          .filter(([, value]) => value != null)
          .map(([name, value]) => `${name} ${figure(value)} ${unit}`)
          .join(", "),
      }), joined, host);
      legend(host, series.map((each, at) => [each.name, LINES[at % LINES.length]]));
      return chart;
    };
  });

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
