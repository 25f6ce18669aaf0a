"use strict";

/* Tables: a click on a header sorts by it, numbers with numbers and text with text. */
function sortBy(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const keyOf = (row) => {
    const cell = row.children[column];
    const value = cell.dataset.value;
    if (value === undefined) return cell.textContent;
    return value === "" ? null : Number(value);
  };
  const order = new Intl.Collator(undefined, { numeric: true });
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: keyOf(row) }));
  rows.sort((a, b) => {
    // What is undefined stays at the end either way.
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
    const isText = typeof a.key === "string" || typeof b.key === "string";
    const sign = isText ? order.compare(a.key, b.key) : a.key - b.key;
    return descending ? -sign : sign;
  });
  table.tBodies[0].append(...rows.map((entry) => entry.row));
}
for (const header of document.querySelectorAll("thead th")) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}

/* On paper nothing can be unfolded. */
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});

/* Maps. Names from data reach the page as text content only. */
const SCORE_COLOURS = [[0, "#0072b2"], [0.5, "#cfc9bd"], [1, "#d55e00"]];
const SHAPES = {
  circle: "<circle cx='6' cy='6' r='5'/>",
  octagon: "<path d='M4 1h4l3 3v4l-3 3H4L1 8V4z'/>",
  hexagon: "<path d='M6 0.5 11 3.5v5L6 11.5 1 8.5v-5z'/>",
  "triangle-up": "<path d='M6 1 11.5 11h-11z'/>",
  "triangle-down": "<path d='M6 11 11.5 1h-11z'/>",
  "triangle-left": "<path d='M1 6 11 .5v11z'/>",
};

function element(tag, content, attributes = {}) {
  const made = document.createElement(tag);
  if (content !== undefined) made.textContent = content;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function showMap(root) {
  const points = JSON.parse(document.getElementById(root.dataset.source).textContent);
  const plot = root.querySelector(".plot");
  const hover = root.querySelector(".hover");
  const rows = points.sources.map(() => []);
  points.source.forEach((source, i) => rows[source].push(i));
  const shown = points.sources.map(() => true);
  const hasScores = points.p_fake.some((score) => score !== null);
  const state = { projection: 0, colour: "source" };
  const size = points.source.length > 2000 ? 5 : points.source.length > 500 ? 7 : 9;

  const traces = () => points.sources.map((source, s) => ({
    type: "scatter",
    mode: "markers",
    x: rows[s].map((i) => points.projections[state.projection].x[i]),
    y: rows[s].map((i) => points.projections[state.projection].y[i]),
    customdata: rows[s],
    visible: shown[s],
    hoverinfo: "none",
    marker: {
      size,
      symbol: source.symbol,
      opacity: 0.78,
      ...(state.colour === "source"
        ? { color: source.colour }
        : {
            color: rows[s].map((i) => points.p_fake[i] ?? 0.5),
            cmin: 0,
            cmax: 1,
            colorscale: SCORE_COLOURS,
          }),
    },
  }));
  const layout = () => {
    const style = getComputedStyle(document.documentElement);
    const axis = {
      showgrid: false, zeroline: false, showticklabels: false, ticks: "", showline: false,
    };
    return {
      margin: { l: 4, r: 4, t: 4, b: 4 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: style.getPropertyValue("--ink").trim() },
      modebar: {
        bgcolor: "rgba(0,0,0,0)",
        color: style.getPropertyValue("--rule").trim(),
        activecolor: style.getPropertyValue("--soft").trim(),
      },
      showlegend: false,
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "pan",
      hovermode: "closest",
      xaxis: axis,
      yaxis: { ...axis, scaleanchor: "x" },
      uirevision: String(state.projection),
    };
  };
  const draw = () => {
    hover.hidden = true;
    return Plotly.react(plot, traces(), layout(), {
      displaylogo: false,
      responsive: true,
      scrollZoom: false,
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
    });
  };

  const choose = (role, options, onChoice) => {
    const group = root.querySelector(`[data-role="${role}"]`);
    if (options.length < 2) return;
    options.forEach(([label, value], i) => {
      const button = element("button", label, { type: "button", "aria-pressed": String(i === 0) });
      button.addEventListener("click", () => {
        for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
        onChoice(value);
        draw();
      });
      group.append(button);
    });
  };
  choose("projections", points.projections.map((projection, i) => [projection.title, i]), (i) => {
    state.projection = i;
  });
  choose("colours", hasScores ? [["by source", "source"], ["by score", "score"]] : [], (colour) => {
    state.colour = colour;
    drawLegend();
  });

  const legend = root.querySelector('[data-role="legend"]');
  function drawLegend() {
    legend.replaceChildren();
    points.sources.forEach((source, s) => {
      const button = element("button", undefined, { type: "button", "aria-pressed": String(shown[s]) });
      const sign = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      sign.setAttribute("viewBox", "0 0 12 12");
      sign.setAttribute("fill", state.colour === "source" ? source.colour : "currentColor");
      sign.innerHTML = SHAPES[source.symbol] ?? SHAPES.circle;
      const kind = source.real ? "real" : "fake";
      button.append(sign, element("span", source.name), element("small", `${kind}, ${rows[s].length}`));
      button.title = "Show or hide; with Shift, show this one alone";
      button.addEventListener("click", (event) => {
        if (event.shiftKey) shown.forEach((_, other) => { shown[other] = other === s; });
        else shown[s] = !shown[s];
        drawLegend();
        draw();
      });
      legend.append(button);
    });
    const isAll = shown.every(Boolean);
    const all = element("button", isAll ? "hide all" : "show all", { type: "button", class: "all" });
    all.addEventListener("click", () => {
      shown.fill(!isAll);
      drawLegend();
      draw();
    });
    legend.append(all);
    if (state.colour === "score") {
      const scale = element("span", undefined, { class: "scale" });
      scale.append("real", element("i"), "fake");
      legend.append(scale);
    }
  }

  function showFace(event) {
    const point = event.points[0];
    const i = point.customdata;
    const source = points.sources[points.source[i]];
    const about = element("div");
    const score = points.p_fake[i];
    about.append(
      element("b", source.name),
      element("span", [source.real ? "real" : "fake", points.split[i]].filter(Boolean).join(", ")),
      element("span", score === null ? "no score" : `p_fake ${score.toFixed(3)}`),
      element("span", points.path[i].split("/").pop()),
    );
    hover.replaceChildren();
    if (points.faces[i]) {
      hover.append(element("img", undefined, { src: `data:image/jpeg;base64,${points.faces[i]}`, alt: "" }));
    }
    hover.append(about);
    hover.hidden = false;
    // Beside the point, on whichever side there is room.
    const x = point.xaxis.l2p(point.x) + point.xaxis._offset;
    const y = point.yaxis.l2p(point.y) + point.yaxis._offset;
    const fitsRight = x + 14 + hover.offsetWidth <= plot.clientWidth;
    hover.style.left = `${Math.max(0, fitsRight ? x + 14 : x - 14 - hover.offsetWidth)}px`;
    hover.style.top = `${Math.max(0, Math.min(y - 20, plot.clientHeight - hover.offsetHeight))}px`;
  }

  drawLegend();
  draw().then(() => {
    plot.on("plotly_hover", showFace);
    plot.on("plotly_click", showFace);
    plot.on("plotly_unhover", () => { hover.hidden = true; });
    plot.on("plotly_relayouting", () => { hover.hidden = true; });
  });
  new ResizeObserver(() => Plotly.Plots.resize(plot)).observe(root);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
for (const root of document.querySelectorAll(".map")) showMap(root);
