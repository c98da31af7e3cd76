// Keeps the page of machines current. Without it the page works too, and shows the moment it was loaded.
"use strict";

const PERIOD_MS = 5000;
const machines = document.getElementById("machines");
const stale = document.getElementById("stale");

function field(card, name) {
  return card.querySelector(`[data-field="${name}"]`);
}

function update(card, machine) {
  const status = field(card, "status");
  status.textContent = machine.status;
  status.dataset.status = machine.status;
  const problem = field(card, "problem");
  problem.hidden = !machine.problem;
  problem.textContent = machine.problem;
  // Texts and lines as the page itself was made of: there is one way to write a figure.
  for (const [name, text] of Object.entries(machine.shown)) {
    // Only what changed: a text that is set anew is read out anew.
    if (field(card, name).textContent !== text) field(card, name).textContent = text;
  }
  for (const [name, points] of Object.entries(machine.charts)) {
    card.querySelector(`[data-chart="${name}"] polyline`).setAttribute("points", points);
  }
  for (const button of card.querySelectorAll("form button")) button.disabled = Boolean(machine.busy);
}

const search = document.getElementById("search");

// Shows the cards that hold every word; an empty field shows all.
function lookFor() {
  if (!search) return;
  const words = search.querySelector("input").value.toLowerCase().split(/\s+/);
  for (const card of machines.querySelectorAll("[data-name]")) {
    const told = card.querySelectorAll("h2, dd, [data-field=status]");
    const text = [...told].map((part) => part.textContent.toLowerCase()).join(" ");
    card.hidden = !words.every((word) => text.includes(word));
  }
}

async function refresh() {
  try {
    const reply = await fetch(machines.dataset.source, { headers: { Accept: "application/json" } });
    if (reply.status === 401) {
      location.reload(); // logged out: the login page says the rest
      return;
    }
    const document_ = await reply.json();
    if (!reply.ok) throw new Error(document_.error);
    stale.hidden = true;
    const cards = new Map([...machines.querySelectorAll("[data-name]")].map((card) => [card.dataset.name, card]));
    const names = document_.vms.map((machine) => machine.name);
    const typing = machines.contains(document.activeElement) && document.activeElement.matches("input");
    if (names.length !== cards.size || names.some((name) => !cards.has(name))) {
      if (!typing) location.reload(); // machines came or went
      return;
    }
    for (const machine of document_.vms) update(cards.get(machine.name), machine);
    document.getElementById("summary").textContent = document_.summary;
    lookFor();
  } catch {
    stale.hidden = false;
  }
}

if (search) {
  search.hidden = false;
  search.addEventListener("input", lookFor);
}
setInterval(() => {
  if (!document.hidden) refresh();
}, PERIOD_MS);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
for (const form of machines.querySelectorAll("form")) {
  // One press is enough: what was asked may take a while.
  form.addEventListener("submit", () => {
    for (const button of form.closest("[data-name]").querySelectorAll("button")) button.disabled = true;
    field(form.closest("[data-name]"), "busy").textContent = `${form.dataset.verb} …`;
  });
}
