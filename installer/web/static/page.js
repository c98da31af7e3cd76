"use strict";
// Small comforts for every page; each page works without them.

// Fields that belong to one choice are shown with it only.
for (const part of document.querySelectorAll("[data-shown-when]")) {
  const [name, value] = part.dataset.shownWhen.split("=");
  const options = document.querySelectorAll(`input[name="${name}"]`);
  const show = () => {
    const chosen = document.querySelector(`input[name="${name}"]:checked`);
    const hasError = part.querySelector("[aria-invalid]") !== null;
    part.hidden = (!chosen || chosen.value !== value) && !hasError;
  };
  options.forEach((option) => option.addEventListener("change", show));
  show();
}

// What is hidden is not sent: it belongs to a choice that was not made.
for (const form of document.forms) {
  form.addEventListener("submit", () => {
    for (const field of form.querySelectorAll("[data-shown-when][hidden] [name]")) {
      if (field.type !== "hidden") field.value = field.name === "allocation_size" ? field.value : "";
    }
    for (const button of form.querySelectorAll("button[type=submit]")) {
      // After this event: a disabled button would not send its own value.
      setTimeout(() => { button.disabled = true; }, 0);
    }
  });
}
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[disabled]")) button.disabled = false;
});

// A button that copies the command above it.
if (navigator.clipboard) {
  for (const block of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-secondary btn-small";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.textContent.trim());
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    const row = document.createElement("div");
    row.className = "copy-row";
    row.append(button);
    block.after(row);
  }
}

// Errors are read first.
const errors = document.getElementById("errors");
if (errors) errors.focus();
