"use strict";
// Show the report in the page instead of as JSON.
const place = document.getElementById("validation");
if (place) {
  place.querySelector("a").addEventListener("click", async (click) => {
    click.preventDefault();
    place.textContent = "…";
    const answer = await fetch(place.dataset.url);
    const report = await answer.json();
    const output = document.createElement("pre");
    output.className = "log";
    output.tabIndex = 0;
    output.setAttribute("role", "region");
    output.setAttribute("aria-label", "Validation report");
    output.textContent = report.output || report.error;
    place.replaceChildren(output);
  });
}
