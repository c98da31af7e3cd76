"use strict";
// Live progress. The server's state is the truth: every event only says "look again", and a browser
// that cannot have a stream (too many watchers) asks every two seconds.
(() => {
  const run = document.getElementById("run");
  const log = document.getElementById("log");
  const texts = document.getElementById("texts").dataset;
  const state = document.getElementById("state");
  const MOST_LINES = 2000;
  let seen = Number(run.dataset.logEnd) || 0;
  let isAsking = false;
  let askAgain = false;
  let timer = 0;
  let clockOffset = 0;

  const set = (node, text) => { if (node.textContent !== text) node.textContent = text; };

  function duration(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    if (seconds < 1) return "< 1 s";
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  }

  function span([low, high]) {
    if (low >= 60) return `${Math.round(low / 60)}–${Math.ceil(high / 60)} min`;
    if (high >= 600) return `up to ${Math.ceil(high / 60)} min`;
    return `${Math.round(low)}–${Math.round(high)} s`;
  }

  function showStep(id, step) {
    const row = document.getElementById(`step-${id}`);
    if (!row) { location.reload(); return; }
    row.className = `run-step is-${step.status}`;
    row.dataset.started = step.started_at || "";
    row.dataset.low = (step.expect_s || [0, 0])[0];
    row.dataset.expect = (step.expect_s || [0, 0])[1];
    set(row.querySelector(".run-state"), texts[step.status] || step.status);
    const working = step.status === "in_progress";
    row.querySelector(".run-expect").classList.toggle("hidden", !working);
    const line = row.querySelector(".run-line");
    line.classList.toggle("hidden", !working || !line.textContent);
    const error = row.querySelector(".run-error");
    error.classList.toggle("hidden", step.status !== "failed");
    if (step.status === "failed") error.setAttribute("role", "alert"); else error.removeAttribute("role");
    set(row.querySelector(".run-error-text"), step.error || "");
    set(row.querySelector(".run-hint"), step.hint || "");
    if (!working && step.started_at && step.completed_at) {
      set(row.querySelector(".run-time"), duration(step.completed_at - step.started_at));
    }
  }

  function showRun(status) {
    run.dataset.status = status.status;
    showProgress(status.progress);
    set(state, texts[`state${status.status[0].toUpperCase()}${status.status.slice(1)}`] || status.status);
    for (const [id, step] of Object.entries(status.steps)) showStep(id, step);
    const stopped = ["failed", "interrupted"].includes(status.status);
    document.getElementById("retry").classList.toggle("hidden", !stopped);
    document.getElementById("closable").classList.toggle("hidden", status.status !== "running");
    if (status.status === "failed") log.closest("details").open = true;
    document.getElementById("done").classList.toggle("hidden", status.status !== "completed");
  }

  function showProgress(value) {
    if (typeof value !== "number") return;
    document.getElementById("progress").value = value;
    set(document.getElementById("percent"), `${value} %`);
  }

  async function ask() {
    if (isAsking) { askAgain = true; return; }
    isAsking = true;
    try {
      const answer = await fetch("/api/finalize/status", { headers: { Accept: "application/json" } });
      if (answer.status === 401) { location.href = "/login"; return; }
      if (answer.ok) {
        const date = Date.parse(answer.headers.get("Date") || "");
        if (date) clockOffset = date - Date.now();
        showRun(await answer.json());
      }
    } catch {
      set(state, texts.lost);
    }
    isAsking = false;
    if (askAgain) { askAgain = false; ask(); }
  }

  function addLine(event) {
    const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
    const step = document.createElement("span");
    step.className = "log-step";
    step.textContent = event.step;
    log.append(step, ` ${event.line}\n`);
    while (log.childNodes.length > 2 * MOST_LINES) log.firstChild.remove();
    if (follows) log.scrollTop = log.scrollHeight;
    showLine(event.step, event.line);
  }

  function showLine(step, text) {
    const row = document.getElementById(`step-${step}`);
    if (!row || !text) return;
    const line = row.querySelector(".run-line");
    set(line, text);
    line.classList.toggle("hidden", !row.classList.contains("is-in_progress"));
  }

  function tick() {
    const now = (Date.now() + clockOffset) / 1000;
    for (const row of run.querySelectorAll(".is-in_progress")) {
      const started = Number(row.dataset.started);
      if (!started) continue;
      const elapsed = now - started;
      const expected = [Number(row.dataset.low) || 0, Number(row.dataset.expect) || 0];
      set(row.querySelector(".run-time"), duration(elapsed));
      const late = expected[1] > 0 && elapsed > expected[1];
      set(row.querySelector(".run-expect"), (late ? texts.late : texts.usual).replace("{time}", span(expected)));
    }
  }

  function poll() {
    if (!timer) timer = setInterval(ask, 2000);
  }

  function watch() {
    const source = new EventSource(`/api/finalize/events?after=${seen}`);
    const note = (message) => { seen = Math.max(seen, Number(message.lastEventId) || 0); };
    source.addEventListener("open", () => { clearInterval(timer); timer = 0; ask(); });
    source.addEventListener("step", (message) => { note(message); ask(); });
    source.addEventListener("run", (message) => { note(message); ask(); });
    source.addEventListener("progress", (message) => {
      note(message);
      const event = JSON.parse(message.data);
      showProgress(event.progress);
      showLine(event.step, event.message);
    });
    source.addEventListener("log", (message) => { note(message); addLine(JSON.parse(message.data)); });
    source.addEventListener("error", () => {
      poll();
      // A refused stream (503) is closed for good: try again later.
      if (source.readyState === EventSource.CLOSED) setTimeout(watch, 10000);
    });
  }

  document.querySelector("#retry form, form#retry").addEventListener("submit", async (submit) => {
    submit.preventDefault();
    const answer = await fetch("/api/finalize/retry", { method: "POST" });
    if (answer.status !== 202 && answer.status !== 409) { location.reload(); return; }
    for (const button of run.querySelectorAll("button[disabled]")) button.disabled = false;
    ask();
  });

  log.scrollTop = log.scrollHeight;
  setInterval(tick, 1000);
  tick();
  watch();
})();
