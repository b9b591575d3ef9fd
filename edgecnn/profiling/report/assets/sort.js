"use strict";
// Sorts a table by the column whose head is clicked: figures from the largest, words from A; a second click turns it.
(() => {
  const valueOf = (row, column) => row.cells[column].textContent.trim();
  const numberOf = (word) => {
    const value = Number(word.replaceAll(",", ""));
    return word === "" || Number.isNaN(value) ? -Infinity : value;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const numeric = head.classList.contains("n");
        const first = numeric ? "descending" : "ascending";
        const second = numeric ? "ascending" : "descending";
        const wanted = head.getAttribute("aria-sort") === first ? second : first;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", wanted);
        const rows = [...table.tBodies[0].rows];
        const order = numeric
          ? (a, b) => numberOf(valueOf(a, column)) - numberOf(valueOf(b, column))
          : (a, b) => valueOf(a, column).localeCompare(valueOf(b, column), "en", { numeric: true });
        rows.sort((a, b) => (wanted === "ascending" ? order(a, b) : order(b, a)));
        table.tBodies[0].append(...rows);
      });
    });
  }
})();
