"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const place = id => document.getElementById(id);
const STEP = 60;
const decisions = new Map();
let chosen = [];
let shown = 0;

function make(tag, text, attributes) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  for (const [name, value] of Object.entries(attributes ?? {})) node.setAttribute(name, value);
  return node;
}

function percent(value) {
  return value >= 0.995 ? "over 99 %" : value < 0.005 ? "under 1 %" : `${Math.round(100 * value)} %`;
}

function describe() {
  const values = [...decisions.values()];
  const accepted = values.filter(each => each.decision === "accept").length;
  place("decided").textContent = values.length === 0 ? "Nothing decided yet."
    : `${accepted} accepted, ${values.length - accepted} refused.`;
  place("save").disabled = values.length === 0;
}

function decide(row, card, decision) {
  const select = card.querySelector("select");
  const before = decisions.get(row.row);
  // Who presses the button after choosing a label confirms it, and takes nothing back.
  if (before && before.decision === decision && !before.chosen) decisions.delete(row.row);
  else decisions.set(row.row, { decision, proposed: select ? select.value : row.proposed });
  paint(row, card);
  describe();
}

function paint(row, card) {
  const now = decisions.get(row.row)?.decision;
  card.classList.toggle("accept", now === "accept");
  card.classList.toggle("refuse", now === "refuse");
  for (const button of card.querySelectorAll("button[data-decision]")) {
    button.setAttribute("aria-pressed", String(button.dataset.decision === now));
  }
}

const ACTS = { relabel: "Relabel", drop: "Drop it", flag: "Flag it", keep: "Flag it" };

function card(row) {
  const item = make("li");
  const head = make("div", null, { class: "head" });
  head.append(make("h3", row.id), make("span", `${row.verdict}, suspicion ${percent(row.suspicion)}`));
  item.append(head);
  if (row.picture) {
    const figure = make("figure");
    figure.append(make("img", null, { src: row.picture, alt: `Picture ${row.id}, labelled ${row.observed}`, loading: "lazy" }));
    item.append(figure);
  }
  const change = make("p", null, { class: "change" });
  if (row.action === "relabel") {
    change.append(make("del", row.observed), " → ", make("ins", row.proposed));
  } else {
    change.append(row.observed === "" ? "no label" : `labelled ${row.observed}`);
    if (row.observed === "" && row.proposed) change.append(", probably ", make("ins", row.proposed));
  }
  item.append(change);
  if (row.evidence) item.append(make("p", `${row.evidence}.`, { class: "why" }));
  if (row.cells) {
    const list = make("dl", null, { class: "cells" });
    row.cells.forEach((cell, position) => {
      const pair = make("div");
      pair.append(make("dt", data.columns[position]), make("dd", cell === "" ? "–" : cell));
      list.append(pair);
    });
    item.append(list);
  }
  if (row.supporters || row.helps || row.hurts) {
    const more = make("details");
    more.append(make("summary", "Evidence"));
    for (const [text, ids] of [["Neighbours with the proposed label", row.supporters], ["Held-out rows that its label helps", row.helps], ["Held-out rows that its label hurts", row.hurts]]) {
      if (ids) more.append(make("p", `${text}: ${ids}.`));
    }
    item.append(more);
  }
  const acts = make("div", null, { class: "acts" });
  const yes = make("button", ACTS[row.action], { type: "button", "data-decision": "accept", "aria-pressed": "false" });
  const no = make("button", row.action === "relabel" ? "The label is right" : "Leave it as it is", { type: "button", "data-decision": "refuse", "aria-pressed": "false" });
  if (row.action === "relabel" && data.classes.length > 2 && data.classes.length <= 100) {
    const select = make("select", null, { "aria-label": `Label for ${row.id}` });
    data.classes.forEach(name => select.add(new Option(name, name)));
    select.value = decisions.get(row.row)?.proposed ?? row.proposed;
    select.addEventListener("change", () => {
      decisions.set(row.row, { decision: "accept", proposed: select.value, chosen: true });
      paint(row, item);
      describe();
    });
    acts.append(select);
  }
  yes.addEventListener("click", () => decide(row, item, "accept"));
  no.addEventListener("click", () => decide(row, item, "refuse"));
  acts.append(yes, no);
  item.append(acts);
  paint(row, item);
  return item;
}

function extend() {
  const next = chosen.slice(shown, shown + STEP);
  place("list").append(...next.map(card));
  shown += next.length;
  place("shown").textContent = `${shown} of ${chosen.length} shown`;
  place("more").hidden = shown >= chosen.length;
}

function choose() {
  const kind = place("kind").value;
  const label = place("class").value;
  const words = place("search").value.trim().toLowerCase();
  const order = place("order").value;
  chosen = data.rows.filter(row => (kind === "all" || row.verdict === kind)
    && (label === "" || row.observed === label)
    && (words === "" || `${row.id} ${row.observed} ${row.proposed} ${row.evidence} ${(row.cells ?? []).join(" ")}`.toLowerCase().includes(words)));
  if (order !== "rank") chosen.sort((a, b) => a[order].localeCompare(b[order], "en", { numeric: true }) || a.rank - b.rank);
  place("list").replaceChildren();
  shown = 0;
  extend();
}

function quoted(value) {
  const text = /^'*[=+\-@\t\r\n＝＋－＠]/.test(value) ? `'${value}` : value;
  return `"${text.replaceAll('"', '""')}"`;
}

function save() {
  const lines = ["row,id,verdict,observed,proposed,action,decision,audit"];
  for (const row of data.rows) {
    const made = decisions.get(row.row);
    if (made) lines.push([String(row.row), quoted(row.id), row.verdict, quoted(row.observed), quoted(made.proposed), row.action === "keep" ? "flag" : row.action, made.decision, data.digest].join(","));
  }
  const link = make("a", null, { download: data.file, href: URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  place("decided").textContent = `Saved as ${data.file}. Now run: ${data.command}`;
}

const kinds = [...new Set(data.rows.map(row => row.verdict))];
place("kind").add(new Option("all", "all"));
for (const kind of kinds) place("kind").add(new Option(kind === "clean" ? "clean, the most suspicious" : kind, kind));
place("kind").value = kinds.includes("mislabelled") ? "mislabelled" : "all";
place("class").add(new Option("all", ""));
for (const name of [...new Set(data.rows.map(row => row.observed))].sort((a, b) => a.localeCompare(b, "en", { numeric: true })).slice(0, 500)) {
  if (name !== "") place("class").add(new Option(name, name));
}
for (const id of ["kind", "class", "order"]) place(id).addEventListener("change", choose);
place("search").addEventListener("input", choose);
place("filters").addEventListener("submit", event => event.preventDefault());
place("more").addEventListener("click", extend);
place("save").addEventListener("click", save);
place("accept-all").addEventListener("click", () => {
  for (const row of chosen.slice(0, shown)) if (!decisions.has(row.row) && row.verdict !== "clean") decisions.set(row.row, { decision: "accept", proposed: row.proposed });
  choose();
  describe();
});
choose();
