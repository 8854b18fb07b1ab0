"use strict";

// A number before anything else in a cell, or its text: "98.25 ± 0.10 (7)" is 98.25.
function sortKey(cell) {
  const text = cell.textContent.trim();
  const number = parseFloat(text.replaceAll(/[,>]/g, ""));
  return Number.isNaN(number) ? text : number;
}

// Rows without an entry stay at the end, whichever way the others go.
function compare(a, b, direction) {
  if (a === "" || b === "") return (a === "") - (b === "");
  if (typeof a === "number" && typeof b === "number") return direction * (a - b);
  return direction * String(a).localeCompare(String(b));
}

function makeSortable(table) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const ascends = header.getAttribute("aria-sort") !== "ascending";
      headers.forEach((other) => other.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", ascends ? "ascending" : "descending");
      const body = table.tBodies[0];
      const keyed = [...body.rows].map((row) => [sortKey(row.cells[column]), row]);
      keyed.sort(([a], [b]) => compare(a, b, ascends ? 1 : -1));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}

// A row stays while it has every word that was typed.
function makeFilterable(section) {
  const rows = [...section.querySelectorAll("tbody tr")];
  const count = section.querySelector(".count");
  const field = section.querySelector(".filter");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    });
    count.textContent = words.length
      ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`
      : "";
  });
}

function showWarps(side) {
  const chosen = document.getElementById(side.querySelector("select").value);
  const picture = chosen.querySelector("figure.warps svg").cloneNode(true);
  picture.querySelectorAll("[id]").forEach((part) => part.removeAttribute("id"));
  side.querySelector(".picture").replaceChildren(picture);
}

// A link to a cell opens it.
function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("section.results").forEach(makeFilterable);
document.querySelectorAll(".side").forEach((side) => {
  side.querySelector("select").addEventListener("change", () => showWarps(side));
  showWarps(side);
});
document.getElementById("log")?.addEventListener("change", (event) => {
  document.body.classList.toggle("log", event.target.checked);
});
window.addEventListener("hashchange", openTarget);
openTarget();
