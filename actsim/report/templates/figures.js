"use strict";
// Draws the figures of the page for what the reader has chosen, in the colours of the theme.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll("[data-figure]")];
  const choice = { ...data.choice };
  const lines = new Set();
  const PRINT_WIDTH = 690;
  const CELL_WIDTH = 30;
  const BESIDE_CELLS = 150;
  let printing = false;

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches) && !printing;

  function recoloured(value, colours) {
    if (typeof value === "string") return colours[value] || value;
    if (Array.isArray(value)) {
      return typeof value.at(-1) === "number" ? value : value.map((item) => recoloured(item, colours));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, recoloured(item, colours)]));
    }
    return value;
  }

  const isChosen = (meta) =>
    Object.entries(meta).every(([key, value]) => (key === "line" ? lines.has(value) : choice[key] === value));

  function draw(plot) {
    const figure = [data.figures[plot.dataset.figure]].flat().find(({ meta }) => isChosen(meta ?? {}));
    const colours = isDark() ? data.dark : {};
    const columns = plot.closest(".two") ? 2 : 1;
    const width = printing ? PRINT_WIDTH / columns : plot.clientWidth;
    const traces = figure.traces.filter((trace) => isChosen(trace.meta)).map((trace) => {
      const { text, hovertext, ...rest } = trace; // texts are no colours
      const shown = { ...recoloured(rest, colours), ...(text && { text }), ...(hovertext && { hovertext }) };
      const isTight = trace.texttemplate && (width - BESIDE_CELLS) / trace.x.length < CELL_WIDTH;
      return isTight ? { ...shown, texttemplate: "" } : shown;
    });
    const layout = { ...recoloured(figure.layout, colours), width, height: plot.clientHeight };
    Plotly.react(plot, traces, layout, { displayModeBar: false, showTips: false });
  }

  const drawAll = () => plots.forEach(draw);

  function reflect() {
    for (const select of document.querySelectorAll("select[data-choice]")) select.value = choice[select.dataset.choice];
    for (const mark of document.querySelectorAll("[data-measure]")) mark.hidden = mark.dataset.measure !== choice.measure;
  }

  for (const select of document.querySelectorAll("select[data-choice]")) {
    select.addEventListener("change", () => {
      choice[select.dataset.choice] = select.value;
      reflect();
      drawAll();
    });
  }
  for (const box of document.querySelectorAll("[data-line]")) {
    const follow = () => (box.checked ? lines.add(box.dataset.line) : lines.delete(box.dataset.line));
    follow();
    box.addEventListener("change", () => {
      follow();
      drawAll();
    });
  }

  const theme = document.getElementById("theme");
  const nameTheme = () => {
    theme.textContent = isDark() ? "Light theme" : "Dark theme";
  };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
    drawAll();
  });
  prefersDark.addEventListener("change", () => {
    nameTheme();
    drawAll();
  });

  let closed = [];
  addEventListener("beforeprint", () => {
    printing = true;
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((details) => details.setAttribute("open", ""));
    drawAll();
  });
  addEventListener("afterprint", () => {
    printing = false;
    closed.forEach((details) => details.removeAttribute("open"));
    drawAll();
  });
  let frame = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(drawAll);
  });

  nameTheme();
  reflect();
  drawAll();
})();
