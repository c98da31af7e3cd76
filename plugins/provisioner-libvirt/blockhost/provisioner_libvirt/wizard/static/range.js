"use strict";
// Says what is wrong with an answer as soon as it is given; the page works without it.

const form = document.querySelector("form[data-check]");
let pending = 0;

async function check(changed) {
  const asked = ++pending;
  const query = new URLSearchParams(new FormData(form));
  let verdict;
  try {
    const reply = await fetch(`${form.dataset.check}?${query}`, { headers: { Accept: "application/json" } });
    if (!reply.ok) return;
    verdict = await reply.json();
  } catch {
    return; // the answer is checked again when it is sent
  }
  if (asked !== pending) return;
  for (const input of form.querySelectorAll("input[name]")) {
    const note = document.getElementById(`${input.name}-note`);
    // Nobody is told off for a field not reached yet.
    const isWrong = verdict.field === input.name && (input.value !== "" || input === changed);
    input.toggleAttribute("aria-invalid", isWrong);
    if (isWrong) input.setAttribute("aria-invalid", "true");
    if (note) {
      note.textContent = isWrong ? verdict.message : "";
      note.hidden = !isWrong;
    }
  }
}

if (form) form.addEventListener("change", (event) => check(event.target));
