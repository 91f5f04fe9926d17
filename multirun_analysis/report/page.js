"use strict";
// Draws the two plots from the numbers in #data. Nothing is computed here: means and intervals come with the page.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const COLORS = {
    light: ["#0072b2", "#d55e00", "#009e73", "#c2569a", "#3b9bd6", "#a87600", "#6b6b6b", "#8c564b"],
    dark: ["#5aaef2", "#ff8f4a", "#2fc798", "#ef9fd0", "#9bd8ff", "#e6b84a", "#b5b5b5", "#d1a08f"],
  };
  const PAPER_WIDTH = 680; // pixels: A4 and Letter between their margins
  const GLYPHS = ["●", "■", "▲", "◆", "▼", "✚", "★", "⬢"];
  const MARKERS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "star", "hexagon"];
  const DASHES = ["solid", "dash", "dashdot", "longdash", "longdashdot"]; // "dot" is the dense network's
  const TICKS = [0, 1, 2, 3].flatMap((k) => [1, 0.7, 0.5, 0.3, 0.2].map((part) => part / 10 ** k));
  const FINE = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]; // of an axis that ends within a factor of 2.5
  const CONFIG = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]] };
  const narrow = matchMedia("(max-width: 40rem)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // plotly takes markup in its texts, and what a record says is none.
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const words = (name) => name.replaceAll("_", " ");
  const isShare = (metric) => data.curves.shares.includes(metric);
  const percent = (x) => `${+(100 * x).toPrecision(3)} %`;
  const score = (metric, y) => y === null ? "–" : isShare(metric) ? `${(100 * y).toFixed(2)} %` : String(+y.toPrecision(5));
  const unique = (items) => [...new Set(items)];
  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const choose = (parent, id, title, options, chosen, redraw) => {
    const select = element("select", { id }, ...options.map(([value, text]) =>
      element("option", { value, textContent: text, selected: value === chosen })));
    select.addEventListener("change", redraw);
    parent.append(element("label", {}, title, select));
    return select;
  };
  const switches = (id, title, written, redraw) => {
    const box = element("fieldset", { id });
    const off = new Set();
    let filled = "";
    const fill = (entries) => {
      // What stays as it is keeps the focus.
      if (filled !== (filled = JSON.stringify(entries))) renew(entries);
    };
    const all = (entries, on) => {
      entries.forEach(([name]) => off[on ? "delete" : "add"](name));
      box.querySelectorAll("input").forEach((input) => { input.checked = on; });
      redraw();
    };
    const buttons = (entries) => entries.length < 3 ? [] : [["All", true], ["None", false]].map(([text, on]) => {
      const button = element("button", { type: "button", className: "small-button", textContent: text, ariaLabel: `${text} of the ${title.toLowerCase()}` });
      button.addEventListener("click", () => all(entries, on));
      return button;
    });
    const renew = (entries) => box.replaceChildren(element("legend", { textContent: title }), ...buttons(entries), ...entries.map(([name, color, dash, glyph]) => {
      const input = element("input", { type: "checkbox", checked: !off.has(name), value: name });
      input.addEventListener("change", () => { off[input.checked ? "delete" : "add"](name); redraw(); });
      const swatch = element("span", { className: "swatch" });
      swatch.style.borderTopColor = color;
      if (dash !== "solid") swatch.style.borderTopStyle = dash === "dot" ? "dotted" : "dashed";
      const mark = element("span", { textContent: glyph, ariaHidden: "true" });
      mark.style.color = color;
      return element("label", {}, input, swatch, mark, written(name));
    }));
    return { box, off, fill };
  };
  let printing = false;
  const theme = () => {
    const night = dark.matches && !printing, style = getComputedStyle(document.body);
    return { colors: COLORS[night ? "dark" : "light"], grid: night ? "#3a3f47" : "#e3e5e8",
      ink: printing ? "#000" : style.color, paper: printing ? "#fff" : style.backgroundColor };
  };
  const faded = (color) => color + "2e";
  const xAxis = (x, log) => {
    const ticks = Math.max(...x) < 2.5 * Math.min(...x) ? FINE : TICKS;
    return log ? { type: "log", autorange: "reversed", tickvals: ticks, ticktext: ticks.map((at) => String(+(100 * at).toPrecision(3))),
      title: { text: "weights remaining (%)" } }
    : { autorange: true, title: { text: "level" }, rangemode: "tozero", dtick: x.length > 12 ? undefined : 1 };
  };
  const band = (x, low, high, color, axes) => {
    const known = x.map((_, i) => i).filter((i) => low[i] !== null && high[i] !== null);
    return { ...axes, x: [...known.map((i) => x[i]), ...known.toReversed().map((i) => x[i])], type: "scatter", mode: "lines",
      y: [...known.map((i) => high[i]), ...known.toReversed().map((i) => low[i])], fill: "toself", fillcolor: faded(color),
      line: { width: 0 }, hoverinfo: "skip", showlegend: false };
  };
  // A table that is wider than its box has its rows as cards, each value with the name of its column.
  const fit = (box) => {
    const table = box.querySelector("table");
    if (!table) return;
    table.classList.remove("cards");
    table.classList.toggle("cards", box.scrollWidth > box.clientWidth);
  };
  const fitAll = () => document.querySelectorAll(".scroll").forEach(fit);
  const label = (table) => {
    const names = [...table.querySelectorAll("thead th")].map((one) => one.textContent);
    table.querySelectorAll("tbody td").forEach((one) => { one.dataset.label = names.at(one.cellIndex - one.parentElement.cells.length); });
  };
  const valuesTable = (id, caption, columns, rows) => {
    const details = document.getElementById(`${id}-values`);
    const fill = () => details.querySelector("div").replaceChildren(details.open ? element("table", {},
      element("caption", { textContent: caption }),
      element("thead", {}, element("tr", {}, ...columns.map((text) => element("th", { scope: "col", textContent: text })))),
      element("tbody", {}, ...rows().map((row) => element("tr", {}, ...row.map((text, i) => i
        ? element("td", { className: "number", textContent: text })
        : element("th", { scope: "row", textContent: text }))))),
    ) : "");
    details.ontoggle = () => { fill(); details.querySelectorAll("table").forEach(label); fitAll(); };
    details.ontoggle();
  };
  const draw = (id, traces, layout, says) => {
    const { ink, grid, paper } = theme();
    for (const name of Object.keys(layout)) {
      if (/^[xy]axis/.test(name)) Object.assign(layout[name], { gridcolor: grid, zerolinecolor: ink, linecolor: ink, automargin: true });
    }
    document.getElementById(`${id}-says`).textContent = says;
    document.getElementById(id).style.height = `${layout.height}px`; // what a change of the window's size goes by
    return Plotly.react(id, traces, { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13 },
      hovermode: "closest", showlegend: false, dragmode: narrow.matches ? false : "zoom",
      hoverlabel: { font: { size: 13, color: ink }, bgcolor: paper }, modebar: { bgcolor: "rgba(0,0,0,0)", color: ink, activecolor: ink },
      autosize: !printing, width: printing ? PAPER_WIDTH : undefined, ...layout }, CONFIG);
  };

  const curves = () => {
    const id = "curves-plot", { columns, metrics, lines } = data.curves;
    if (!lines.length) {
      document.getElementById(`${id}-says`).textContent = "No level is finished yet.";
      document.getElementById(id).hidden = document.getElementById(`${id}-values`).hidden = true;
      return;
    }
    const controls = document.getElementById(`${id}-controls`);
    const redraw = () => show();
    const metric = choose(controls, "choose-metric", "Vertical axis", metrics.map((name) => [name, words(name)]), metrics[0], redraw);
    const across = choose(controls, "choose-x", "Horizontal axis", [["remaining", "weights remaining, log"], ["level", "level"]], "remaining", redraw);
    const places = [["", "none"], ...columns.map((name) => [name, name])];
    const valuesOf = (name) => columns.includes(name) ? unique(lines.map((line) => line.config[columns.indexOf(name)])).length : Infinity;
    const first = columns.length > 1 && valuesOf("lr") <= 6 ? "lr" : "";
    // Where a panel would have more lines than can be told apart, the column with the fewest values makes rows.
    const rest = columns.filter((name) => name !== first).toSorted((a, b) => valuesOf(a) - valuesOf(b));
    const many = rest.length > 1 && rest.reduce((product, name) => product * valuesOf(name), 1) > 6 && valuesOf(rest[0]) <= 4;
    const second = data.curves.apart || (many ? rest[0] : "");
    const col = choose(controls, "choose-col", "Columns of panels", places, first, redraw);
    const row = choose(controls, "choose-row", "Rows of panels", places, second, redraw);
    const scale = choose(controls, "choose-scale", "Vertical scale", [["own", "each panel its own"], ["same", "the same"]], "own", redraw);
    const hues = switches("switch-lines", "Lines", String, redraw), arms = switches("switch-arms", "Arms", words, redraw);
    const everyArm = unique(lines.map((line) => line.arm)).sort((a, b) => (a !== "ticket") - (b !== "ticket") || (a < b ? -1 : 1));
    controls.append(hues.box, arms.box);

    const show = () => {
      const of = (line, name) => name ? line.config[columns.indexOf(name)] : "";
      const rest = columns.filter((name) => ![col.value, row.value].includes(name));
      const hueOf = (line) => rest.map((name) => of(line, name)).join(", ");
      // Cells of other problems do not have the metric: they have no panels.
      const having = lines.filter((line) => line.values[metric.value][0].some((y) => y !== null)), there = having.length ? having : lines;
      const names = unique(lines.map(hueOf)), places = (select) => unique(there.map((line) => of(line, select.value)));
      const colors = theme().colors;
      const looks = new Map(names.map((name, i) => [name, [colors[i % 8], (i + Math.floor(i / 8)) % 8]]));
      hues.fill(names.map((name) => [name, looks.get(name)[0], "solid", GLYPHS[looks.get(name)[1]]]));
      arms.fill([...everyArm.map((arm, i) => [arm, theme().ink, DASHES[i % DASHES.length], ""]), ["dense", theme().ink, "dot", ""]]);
      hues.box.hidden = names.length < 2;
      const same = col.value === row.value ? [""] : places(row);
      const grid = same.flatMap((r) => places(col).map((c) => [r, c]));
      const wide = narrow.matches ? 1 : same.length > 1 ? places(col).length : Math.min(3, grid.length);
      const high = Math.ceil(grid.length / wide);
      const log = across.value === "remaining", layout = { annotations: [], margin: { t: 34, r: 12, l: 58, b: 46 } };
      const traces = [];
      const gapX = 0.07, gapY = high > 1 ? 0.32 / high : 0;
      grid.forEach(([r, c], at) => {
        const n = at ? at + 1 : "", axes = { xaxis: `x${n}`, yaxis: `y${n}` };
        const i = at % wide, j = Math.floor(at / wide);
        const w = (1 - gapX * (wide - 1)) / wide, h = (1 - gapY * (high - 1)) / high;
        const x = [i * (w + gapX), i * (w + gapX) + w], y = [1 - j * (h + gapY) - h, 1 - j * (h + gapY)];
        const here = lines.filter((line) => of(line, col.value) === c && (col.value === row.value || of(line, row.value) === r));
        layout[`xaxis${n}`] = { ...xAxis(unique(here.flatMap((line) => line[across.value])), log), domain: x, anchor: `y${n}` };
        layout[`yaxis${n}`] = { domain: y, anchor: `x${n}`, tickformat: isShare(metric.value) ? ".1%" : undefined, nticks: 7,
          title: { text: i ? "" : words(metric.value) }, matches: scale.value === "same" && at ? "y" : undefined };
        const title = [[row.value, r], [col.value, c]].filter(([name], k) => name && !(k === 0 && col.value === row.value));
        layout.annotations.push({ text: plain(title.map(([name, value]) => `${name} = ${value}`).join("  ·  ")), showarrow: false,
          x: x[0], xref: "paper", xanchor: "left", y: y[1], yref: "paper", yanchor: "bottom", font: { size: 14 } });
        for (const line of here) {
          const dense = line.values[metric.value][0][line.level.indexOf(0)];
          if (line.arm !== "ticket" || dense === undefined || dense === null) continue;
          const ends = (part) => part(...here.flatMap((one) => one[across.value])), [color] = looks.get(hueOf(line));
          const name = plain([hueOf(line), "dense"].filter(Boolean).join(", "));
          traces.push({ ...axes, x: [ends(Math.min), ends(Math.max)], y: [dense, dense], type: "scatter", mode: "lines", name, opacity: 0.7,
            visible: !hues.off.has(hueOf(line)) && !arms.off.has("dense"), line: { color, dash: "dot", width: 1.2 },
            text: [0, 1].map(() => `${name}<br>${words(metric.value)} ${score(metric.value, dense)}`), hovertemplate: "%{text}<extra></extra>" });
        }
        for (const line of here) {
          const [mean, low, top] = line.values[metric.value], [color, mark] = looks.get(hueOf(line));
          const visible = !hues.off.has(hueOf(line)) && !arms.off.has(line.arm);
          const dash = DASHES[everyArm.indexOf(line.arm) % DASHES.length], known = line[across.value];
          if (line.n.some((n) => n > 1)) traces.push({ ...band(known, low, top, color, axes), visible });
          const name = plain([hueOf(line), everyArm.length > 1 ? words(line.arm) : ""].filter(Boolean).join(", ") || "all cells");
          traces.push({ ...axes, x: known, y: mean, type: "scatter", mode: "lines+markers", name, visible, line: { color, dash, width: 2 },
            marker: { symbol: MARKERS[mark], size: 6, color },
            text: known.map((_, k) => `${name}<br>level ${line.level[k]}, ${percent(line.remaining[k])} remaining<br>${words(metric.value)} ` +
              `${score(metric.value, mean[k])}<br>${score(metric.value, low[k])} to ${score(metric.value, top[k])} over ${line.n[k]} seed${line.n[k] > 1 ? "s" : ""}`),
            hovertemplate: "%{text}<extra></extra>" });
        }
      });
      layout.height = Math.max(360, high * 330);
      const shown = () => there.filter((line) => !hues.off.has(hueOf(line)) && !arms.off.has(line.arm));
      valuesTable(id, `${words(metric.value)} at the end of each level`, ["Line", "Arm", "Level", "Weights remaining", "Mean", "Least", "Greatest", "Seeds"],
        () => shown().flatMap((line) => line.level.map((level, k) => [line.config.join(", ") || "all cells", words(line.arm), level,
          percent(line.remaining[k]), ...line.values[metric.value].map((part) => score(metric.value, part[k])), line.n[k]])));
      return draw(id, traces, layout, `${words(metric.value)} against ${log ? "the weights remaining, on a log axis from 100 % down" : "the level"}: ` +
        `${shown().length} of ${there.length} lines in ${grid.length} panel${grid.length > 1 ? "s" : ""}. The table below has the same values.`);
    };
    show();
    return show;
  };

  const differences = () => {
    const id = "difference-plot", every = data.differences;
    if (!document.getElementById(id)) return undefined;
    const controls = document.getElementById(`${id}-controls`);
    const written = (one, choice) => one.axis === "arm" ? words(choice) : choice;
    const name = (one) => `${one.part ? `${one.part}, ` : ""}${one.axis}: ${written(one, one.left)} less ${written(one, one.right)}`;
    const pairs = unique(every.map(name));
    const pair = choose(controls, "choose-pair", "Choices", pairs.map((text) => [text, text]), pairs[0], () => { settings(); show(); });
    const setting = choose(controls, "choose-setting", "Setting", [], "", () => show());
    const settings = () => setting.replaceChildren(...every.filter((one) => name(one) === pair.value)
      .map((one) => element("option", { value: one.setting, textContent: one.setting || "all cells" })));
    const show = () => {
      const one = every.find((found) => name(found) === pair.value && found.setting === setting.value);
      const { difference: mean, low, high } = one, unit = one.unit ? ` ${one.unit}` : "";
      const sure = one.p_holm.map((p) => p !== null && p < 0.05);
      const said = (value) => value === null ? "–" : `${value > 0 ? "+" : ""}${value.toFixed(one.places)}`.replace("-", "−");
      const axes = { xaxis: "x", yaxis: "y" }, { paper, colors: [color] } = theme();
      const trace = { ...axes, x: one.remaining, y: mean, type: "scatter", mode: "lines+markers", line: { color, width: 2 },
        marker: { size: 8, color: sure.map((yes) => yes ? color : paper), line: { color, width: 2 } },
        text: mean.map((value, k) => `level ${one.level[k]}, ${percent(one.remaining[k])} remaining<br>${said(value)}${unit}` +
          `<br>95 % interval ${said(low[k])} to ${said(high[k])}<br>${one.n[k]} seed${one.n[k] > 1 ? "s" : ""}${sure[k] ? ", told apart" : ""}`),
        hovertemplate: "%{text}<extra></extra>" };
      valuesTable(id, `${pair.value}, ${words(one.metric)}${unit && ` in${unit}`}`, ["Level", "Weights remaining", "Difference", "Low", "High", "Seeds", "p (Holm)"],
        () => one.level.map((level, k) => [level, percent(one.remaining[k]), said(mean[k]), said(low[k]), said(high[k]), one.n[k],
          one.p_holm[k] === null ? "–" : one.p_holm[k].toFixed(3)]));
      return draw(id, [band(one.remaining, low, high, color, axes), trace], { height: 360, margin: { t: 12, r: 12, l: 58, b: 46 },
        xaxis: xAxis(one.remaining, true), yaxis: { title: { text: `difference${unit && ` (${one.unit})`}` }, zeroline: true, zerolinewidth: 2 } },
        `${pair.value}${one.setting ? `, ${one.setting}` : ""}: ${one.better} 0 the first is better. Filled: told apart after Holm's correction over all levels and pairs of ${one.axis}; ` +
        `${sure.filter(Boolean).length} of ${sure.length} levels are.`);
    };
    settings();
    show();
    return show;
  };

  document.querySelectorAll("table").forEach(label);
  const redraws = [curves(), differences()].filter(Boolean);
  fitAll();
  addEventListener("resize", fitAll);
  document.addEventListener("toggle", fitAll, true); // a table in what is closed has no width
  const redrawAll = () => redraws.forEach((redraw) => redraw());
  for (const media of [narrow, dark]) media.addEventListener("change", redrawAll);
  for (const [event, now] of [["beforeprint", true], ["afterprint", false]]) {
    addEventListener(event, () => {
      printing = now;
      redrawAll();
      if (!printing) document.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.Plots.resize(plot));
    });
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const code = button.parentElement.querySelector("code");
    const says = document.getElementById("copied");
    try {
      await navigator.clipboard.writeText(code.textContent);
      says.textContent = `Copied: ${code.textContent}`;
    } catch {
      getSelection().selectAllChildren(code);
      says.textContent = "Selected; copy it with the keyboard.";
    }
  });
})();
