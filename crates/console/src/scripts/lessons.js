// The page of a lesson: keeps the list of traces up to date, and checks without a new page.

const REFRESH_MS = 2_000;

const newest = document.getElementById("newest");
const pause = document.querySelector("[data-pause]");
let timer;

if (newest && pause) {
  document.querySelector(".reload")?.remove();
  pause.hidden = false;
  pause.addEventListener("click", togglePause);
  document.addEventListener("visibilitychange", refreshWhenVisible);
  schedule();
}

document.querySelector(".lesson-page")?.addEventListener("submit", send);

function togglePause() {
  const isPaused = pause.textContent === "Pause";
  pause.textContent = isPaused ? "Resume" : "Pause";
  clearTimeout(timer);
  if (!isPaused) refresh();
}

// Browsers slow down the timers of hidden pages, so the list would be old when the page is shown.
function refreshWhenVisible() {
  clearTimeout(timer);
  if (!document.hidden && pause.textContent === "Pause") refresh();
}

function schedule() {
  clearTimeout(timer);
  timer = setTimeout(refresh, REFRESH_MS);
}

async function refresh() {
  try {
    const response = await fetch(newest.dataset.url, { signal: AbortSignal.timeout(10_000) });
    const fragment = parse(await response.text());
    // Links are relative to the address of the list, which is not that of the page.
    for (const link of fragment.querySelectorAll("a[href]")) {
      link.href = new URL(link.getAttribute("href"), response.url).href;
    }
    if (isRunning()) show(fragment);
  } catch {
    if (isRunning()) showProblem("Cannot list traces: no response. Is the lab still running?");
  }
  if (isRunning()) schedule();
}

function isRunning() {
  return !document.hidden && pause.textContent === "Pause";
}

// Replaces the list and keeps the focus, which would otherwise be lost every two seconds.
function show(fragment) {
  const focused = newest.contains(document.activeElement) ? document.activeElement.href : null;
  newest.replaceChildren(...fragment.body.childNodes);
  if (focused) [...newest.querySelectorAll("a")].find((link) => link.href === focused)?.focus();
}

function showProblem(text) {
  const problem = document.createElement("p");
  problem.className = "problem";
  problem.textContent = text;
  newest.replaceChildren(problem);
}

function parse(html) {
  return new DOMParser().parseFromString(html, "text/html");
}

async function send(event) {
  const form = event.target.closest("form[data-exercise]");
  if (!form) return;
  event.preventDefault();
  const exercise = document.getElementById("exercise");
  for (const button of exercise.querySelectorAll("button")) button.disabled = true;
  exercise.setAttribute("aria-busy", "true");
  document.getElementById("outcome").textContent = form.dataset.exercise;
  try {
    const body = new URLSearchParams(new FormData(form));
    const response = await fetch(form.action, { method: "POST", body });
    showResult(exercise, parse(await response.text()), response.url);
  } catch {
    showFailure(exercise, "No response. Is the lab still running?");
  }
}

// The response is the whole page, of which only the exercise and the progress have changed.
function showResult(exercise, page, url) {
  const changed = page.getElementById("exercise");
  if (!changed) {
    // Such as a page that asks to reload this one.
    const message = page.querySelector("main")?.textContent.trim();
    showFailure(exercise, message || "The console did not accept the request.");
    return;
  }
  for (const id of ["exercise", "progress"]) {
    const part = page.getElementById(id);
    for (const [selector, name] of [["a[href]", "href"], ["form[action]", "action"]]) {
      for (const element of part?.querySelectorAll(selector) ?? []) {
        element.setAttribute(name, new URL(element.getAttribute(name), url).href);
      }
    }
    if (part) document.getElementById(id)?.replaceWith(part);
  }
  document.getElementById("outcome")?.focus();
}

function showFailure(exercise, text) {
  exercise.removeAttribute("aria-busy");
  for (const button of exercise.querySelectorAll("button")) button.disabled = false;
  const outcome = document.getElementById("outcome");
  outcome.textContent = text;
  outcome.focus();
}
