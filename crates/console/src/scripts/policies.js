// The pages of policies: live rows and facts, ranges for rates, previews in a dialog, the editor whose
// form and text stay in step, and the time left until a policy expires.

import { announce, follow, showCopyButtons } from "./console.js";

// A range is logarithmic from 0.01 % to 100 %, in steps of a hundredth of a power of ten.
const RANGE_STEPS = 400;
const MIN_PERCENT = 0.01;
// The minimum interval between requests for the parts of a page that are not rows: those of a policy,
// and those around the table, which may be large.
const MIN_REFRESH_MS = 1_500;
const MIN_TABLE_REFRESH_MS = 10_000;
// The pause in typing after which the editor's other half follows.
const TYPING_PAUSE_MS = 500;
const TIMEOUT_MS = 15_000;

const table = document.querySelector(".policies");
const policy = document.querySelector(".policy");
const editor = document.querySelector(".editor");
const partsToRefresh = new Set();
let refreshTimer;
let lastRefresh = 0;
let isFirstUpdate = true;

document.querySelectorAll("form.rate").forEach(addRange);
document.addEventListener("submit", preview);
setInterval(showCountdowns, 1_000);
showCountdowns();
if (table) follow(table.dataset.events, { policies: updateTable }, showProblem);
if (policy) follow(policy.dataset.events, { policies: updatePolicy }, showProblem);
if (editor) keepInStep();

// Live values

function updateTable({ rows, removed, order, policies }) {
  const live = document.getElementById("live");
  if (live.textContent !== "live") live.textContent = "live";
  const body = document.getElementById("rows");
  // The table replaces the explanation of an empty page, and the other way round.
  const hasRows = body ? order?.length !== 0 : Object.keys(rows).length > 0;
  if (Boolean(body) !== hasRows) return refresh(["summary", "places", "without-effect"], MIN_REFRESH_MS);
  for (const id of removed) document.getElementById(id)?.remove();
  for (const [id, html] of Object.entries(rows)) showRow(body, id, html);
  if (order && body) arrange(body, order);
  // The first event has all policies, and the page has just been made.
  const hasChanged = policies.length > 0 && !isFirstUpdate;
  isFirstUpdate = false;
  if (hasChanged) refresh(["summary", "without-effect"], MIN_TABLE_REFRESH_MS);
}

function showRow(body, id, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const row = template.content.querySelector("tr");
  if (!row) return;
  const token = document.querySelector("#token input")?.value ?? "";
  for (const field of row.querySelectorAll('input[name="token"]')) field.value = token;
  row.querySelectorAll("form.rate").forEach(addRange);
  const before = document.getElementById(id);
  if (!before) return body.append(row);
  // Cell by cell, so that a rate that is being changed keeps its value and the focus.
  [...before.cells].forEach((cell, index) => {
    const cellNow = row.cells[0];
    if (!cellNow) return;
    if (isInUse(cell) || cell.innerHTML === cellNow.innerHTML) cellNow.remove();
    else before.replaceChild(cellNow, before.cells[index]);
  });
}

function isInUse(cell) {
  const number = cell.querySelector('input[type="number"]');
  return cell.contains(document.activeElement) || (number && number.value !== number.defaultValue);
}

// Moves only the rows that are not in their place, since a moved row loses the focus.
function arrange(body, order) {
  let next = body.firstElementChild;
  for (const id of order) {
    const row = document.getElementById(id);
    if (!row) continue;
    if (row === next) next = next.nextElementSibling;
    else body.insertBefore(row, next);
  }
}

function updatePolicy({ policies }) {
  if (policies.includes(policy.dataset.policy)) refresh(["facts"], MIN_REFRESH_MS);
}

// Replaces parts of the page by those of the server's current one.
function refresh(parts, minInterval) {
  for (const id of parts) partsToRefresh.add(id);
  clearTimeout(refreshTimer);
  const wait = Math.max(0, lastRefresh + minInterval - Date.now());
  refreshTimer = setTimeout(async () => {
    lastRefresh = Date.now();
    const ids = [...partsToRefresh];
    partsToRefresh.clear();
    try {
      const { page } = await load(location.href, {});
      for (const id of ids) replacePart(page, id);
      showCountdowns();
    } catch {
      showProblem("no response; this page tries again with the next change");
    }
  }, wait);
}

function replacePart(page, id) {
  const [before, after] = [document.getElementById(id), page.getElementById(id)];
  if (!before || !after || before.innerHTML === after.innerHTML) return;
  const progress = after.querySelector(".progress")?.textContent;
  const isProgress = progress && progress !== before.querySelector(".progress")?.textContent;
  after.querySelectorAll("form.rate").forEach(addRange);
  showCopyButtons(after);
  before.replaceWith(after);
  if (isProgress) announce(progress);
}

function showProblem(reason) {
  const live = document.getElementById("live") ?? addLive();
  live.classList.toggle("outdated", reason !== null);
  live.textContent = reason === null ? "live" : `not up to date: ${reason}`;
}

function addLive() {
  const live = document.createElement("p");
  live.id = "live";
  live.setAttribute("role", "status");
  document.querySelector(".heading")?.after(live);
  return live;
}

// Rates

function addRange(form) {
  const number = form.querySelector('input[type="number"]');
  if (!number || form.querySelector('input[type="range"]')) return;
  const range = document.createElement("input");
  range.type = "range";
  range.min = 0;
  range.max = RANGE_STEPS;
  range.setAttribute("aria-label", `${number.ariaLabel ?? "Rate in percent"}, on a logarithmic scale`);
  const show = () => {
    range.value = stepOf(Number(number.value));
    range.setAttribute("aria-valuetext", `${number.value} percent`);
  };
  range.addEventListener("input", () => {
    number.value = percentOf(Number(range.value));
    range.setAttribute("aria-valuetext", `${number.value} percent`);
  });
  number.addEventListener("input", show);
  show();
  number.before(range);
}

function stepOf(percent) {
  if (!(percent > MIN_PERCENT)) return 0;
  return Math.round((RANGE_STEPS / 4) * Math.log10(percent / MIN_PERCENT));
}

// With two significant digits, and exact at the end.
function percentOf(step) {
  const percent = MIN_PERCENT * 10 ** ((4 * step) / RANGE_STEPS);
  return String(Number(percent.toPrecision(2)));
}

// Previews

// Shows the preview of a rate in a dialog. Any other form, and any failure, leads to a page.
async function preview(event) {
  const form = event.target.closest?.("form.rate");
  if (!form || form.closest("dialog")) return;
  event.preventDefault();
  try {
    const { page, url } = await load(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
    });
    showDialog(page.querySelector("main"), url, form);
  } catch {
    form.submit();
  }
}

function showDialog(main, url, form) {
  const dialog = document.createElement("dialog");
  // Links are relative to the address of the preview, which is not that of this page.
  for (const link of main.querySelectorAll("a[href]")) {
    link.href = new URL(link.getAttribute("href"), url).href;
  }
  for (const each of main.querySelectorAll("form[action]")) {
    each.action = new URL(each.getAttribute("action"), url).href;
  }
  for (const element of main.querySelectorAll("[id]")) renameId(main, element);
  dialog.append(...main.childNodes);
  const heading = dialog.querySelector("h1");
  if (heading) {
    heading.id = "preview-heading";
    heading.tabIndex = -1;
    heading.autofocus = true;
    dialog.setAttribute("aria-labelledby", heading.id);
  }
  const close = document.createElement("button");
  close.type = "button";
  close.className = "quiet";
  close.textContent = "Cancel";
  close.addEventListener("click", () => dialog.close());
  dialog.append(close);
  dialog.addEventListener("close", () => {
    dialog.remove();
    form.querySelector('input[type="number"]')?.focus();
  });
  showCopyButtons(dialog);
  document.body.append(dialog);
  dialog.showModal();
}

// The page behind the dialog may have the same IDs.
function renameId(root, element) {
  const [before, id] = [element.id, `preview-${element.id}`];
  element.id = id;
  for (const name of ["for", "aria-describedby", "data-copy"]) {
    for (const user of root.querySelectorAll(`[${name}="${CSS.escape(before)}"]`)) {
      user.setAttribute(name, id);
    }
  }
}

// The editor

function keepInStep() {
  const [text, fields] = [document.getElementById("text"), document.getElementById("fields")];
  let timer;
  // The number of the last input: a response to an earlier one would overwrite what was typed since.
  let inputs = 0;
  const later = (update) => {
    clearTimeout(timer);
    const input = ++inputs;
    timer = setTimeout(() => update(() => input === inputs), TYPING_PAUSE_MS);
  };
  text.addEventListener("input", () => later((isLatest) => updateFields(text, isLatest)));
  fields.addEventListener("input", () => later((isLatest) => updateText(fields, isLatest)));
}

async function updateFields(text, isLatest) {
  const url = text.querySelector("[formaction]").formAction;
  const body = new URLSearchParams(new FormData(text));
  const { page, isOk } = await convert(url, body);
  if (!page || !isLatest()) return;
  const [problems, found] = [document, page].map((it) => it.getElementById("yaml-problems"));
  if (found) {
    problems.replaceChildren(...found.childNodes);
    problems.hidden = isOk;
    const yaml = document.getElementById("yaml");
    if (isOk) yaml.removeAttribute("aria-invalid");
    else {
      yaml.setAttribute("aria-invalid", "true");
      yaml.setAttribute("aria-describedby", found.id);
    }
  }
  // With invalid text, the form keeps the last valid values.
  const controls = page.getElementById("controls");
  if (isOk && controls) document.getElementById("controls").replaceWith(controls);
}

async function updateText(fields, isLatest) {
  const body = new URLSearchParams(new FormData(fields));
  const { page, isOk } = await convert(fields.action, body);
  const yaml = page?.getElementById("yaml");
  if (yaml && isOk && isLatest()) document.getElementById("yaml").value = yaml.value;
}

async function convert(url, body) {
  try {
    return await load(url, { method: "POST", body });
  } catch {
    // The buttons still work, and show what is wrong.
    return {};
  }
}

// Time left

function showCountdowns() {
  for (const time of document.querySelectorAll("time[data-countdown]")) {
    const left = Math.ceil((Date.parse(time.dateTime) - Date.now()) / 1_000);
    if (Number.isNaN(left)) continue;
    time.title ||= time.textContent;
    const text = `${time.title} (${left <= 0 ? "now" : `in ${duration(left)}`})`;
    if (time.textContent !== text) time.textContent = text;
  }
}

function duration(seconds) {
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor((seconds % 3_600) / 60)];
  if (hours > 0) return `${hours} h ${minutes} min`;
  if (minutes > 0) return `${minutes} min ${seconds % 60} s`;
  return `${seconds} s`;
}

async function load(url, options) {
  const response = await fetch(url, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (!page.querySelector("main")) throw new Error(`no page at ${url}`);
  return { page, url: response.url, isOk: response.ok };
}
