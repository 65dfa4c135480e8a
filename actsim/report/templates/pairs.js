"use strict";
// The table of pairs: sorted, searched, and shown a page at a time.
(() => {
  const { pairs } = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 50;
  const count = pairs.id.length;
  const hasText = "a" in pairs;
  const body = document.querySelector("#pairs tbody");
  const heads = [...document.querySelectorAll("#pairs th[data-key]")];
  const search = document.getElementById("search");
  const direction = document.getElementById("direction");
  const state = { key: "difference", descending: true, page: 0 };
  const columns = {
    position: pairs.id.map((_, index) => index),
    gold: pairs.gold,
    score: pairs.score,
    difference: pairs.difference.map((value) => (value === null ? null : Math.abs(value))),
  };
  const haystack = pairs.id.map((id, index) =>
    (hasText ? `${id}\n${pairs.a[index]}\n${pairs.b[index]}` : id).toLowerCase(),
  );
  let order = [];

  function matches(index, words) {
    const difference = pairs.difference[index];
    if (direction.value === "over" && !(difference > 0)) return false;
    if (direction.value === "under" && !(difference < 0)) return false;
    return words.every((word) => haystack[index].includes(word));
  }

  function arrange() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const values = columns[state.key];
    const sign = state.descending ? -1 : 1;
    order = columns.position.filter((index) => matches(index, words));
    order.sort((left, right) => {
      const a = values[left];
      const b = values[right];
      if (a === null || b === null) return a === b ? left - right : a === null ? 1 : -1;
      return sign * (a - b) || left - right;
    });
    state.page = 0;
    show();
  }

  const MINUS = "\u2212";
  const decimals = (value, digits) => (value === null ? "–" : value.toFixed(digits).replace("-", MINUS));
  const plain = (value) => String(value).replace("-", MINUS);
  function signed(value) {
    if (value === null) return "–";
    const size = Math.abs(value);
    const text = Number.isInteger(size) ? String(size) : size.toFixed(1);
    return value > 0 ? `+${text}` : value < 0 ? `${MINUS}${text}` : text;
  }

  function element(name, text, properties) {
    const made = Object.assign(document.createElement(name), properties);
    made.textContent = text;
    return made;
  }

  function row(index) {
    const line = document.createElement("tr");
    const head = element("th", "", { scope: "row" });
    head.append(element("span", pairs.id[index], { className: "id", dir: "auto" }));
    if (hasText) {
      for (const side of ["a", "b"]) {
        head.append(element("span", pairs[side][index], { className: "sentence", dir: "auto" }));
      }
    }
    line.append(
      head,
      element("td", plain(pairs.gold[index]), { className: "num" }),
      element("td", decimals(pairs.score[index], 4), { className: "num" }),
      element("td", signed(pairs.difference[index]), { className: "num" }),
    );
    return line;
  }

  function show() {
    const pages = Math.max(1, Math.ceil(order.length / PAGE));
    const first = state.page * PAGE;
    const indices = order.slice(first, first + PAGE);
    body.replaceChildren(...indices.map(row));
    if (!indices.length) {
      const line = document.createElement("tr");
      line.append(element("td", "No pair matches.", { colSpan: 4, className: "none" }));
      body.append(line);
    }
    const written = (number) => number.toLocaleString("en");
    document.getElementById("found").textContent =
      order.length === count ? `${written(count)} pairs` : `${written(order.length)} of ${written(count)} pairs`;
    document.getElementById("page").textContent = `page ${state.page + 1} of ${pages}`;
    document.getElementById("pages").hidden = pages === 1;
    for (const button of document.querySelectorAll("[data-go]")) {
      const backwards = button.dataset.go === "first" || button.dataset.go === "previous";
      button.disabled = backwards ? state.page === 0 : state.page === pages - 1;
    }
    for (const head of heads) {
      if (head.dataset.key === state.key) {
        head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      } else {
        head.removeAttribute("aria-sort");
      }
    }
  }

  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => {
      const isSame = state.key === head.dataset.key;
      state.descending = isSame ? !state.descending : head.dataset.key !== "position";
      state.key = head.dataset.key;
      arrange();
    });
  }
  for (const button of document.querySelectorAll("[data-go]")) {
    button.addEventListener("click", () => {
      const last = Math.max(0, Math.ceil(order.length / PAGE) - 1);
      const targets = { first: 0, previous: state.page - 1, next: state.page + 1, last };
      state.page = Math.min(last, Math.max(0, targets[button.dataset.go]));
      show();
    });
  }
  search.addEventListener("input", arrange);
  direction.addEventListener("change", arrange);
  document.getElementById("pair-controls").hidden = false;
  arrange();
})();
