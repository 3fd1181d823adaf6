"use strict";
// Sorts and filters the tables, which are complete without it.
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const isNumber = head.classList.contains("n");
      const now = head.getAttribute("aria-sort");
      // First click: numbers from the largest, names from A.
      const order = now ? (now === "ascending" ? "descending" : "ascending")
        : (isNumber ? "descending" : "ascending");
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => {
        const cell = row.cells[column];
        return isNumber ? Number(cell.dataset.v ?? cell.textContent) : cell.textContent;
      };
      const compare = isNumber ? (a, b) => a - b : new Intl.Collator().compare;
      const rows = [...body.rows].map((row) => [key(row), row]);
      rows.sort((a, b) => sign * compare(a[0], b[0]));
      body.append(...rows.map((pair) => pair[1]));
    });
  });
}
for (const form of document.querySelectorAll("form.filter")) {
  const rows = [...document.getElementById(form.dataset.of).tBodies[0].rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const text = form.querySelector("input");
  const kind = form.querySelector("select");
  const shown = form.querySelector("output");
  const apply = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, index) => {
      const fits = words.every((word) => texts[index].includes(word))
        && (!kind || !kind.value || row.dataset.kind === kind.value);
      row.hidden = !fits;
      count += fits;
    });
    shown.textContent = count.toLocaleString("en") + " of " + rows.length.toLocaleString("en");
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
}
