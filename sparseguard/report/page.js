// Tables are sorted by a click on a heading: by number where the cells begin with one, dashes last.
"use strict";
const number = text => { const found = text.match(/^[+−-]?[\d.]+/); return found ? parseFloat(found[0].replace("−", "-")) : NaN; };
function sort(table, column, heading) {
  const up = heading.getAttribute("aria-sort") !== "ascending";
  for (const th of heading.parentElement.children) th.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.children[column].textContent.trim();
  const rows = [...table.tBodies[0].rows];
  const numeric = rows.some(row => !isNaN(number(key(row))));
  rows.sort((a, b) => {
    if (!numeric) return (up ? 1 : -1) * key(a).localeCompare(key(b));
    const [x, y] = [number(key(a)), number(key(b))];
    return isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) : (up ? x - y : y - x);
  });
  table.tBodies[0].append(...rows);
}
for (const table of document.querySelectorAll(".sparseguard-table table"))
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(table, column, heading));
    heading.append(button);
  });
