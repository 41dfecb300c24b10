"use strict";

const byId = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;

function table(body, scores) {
  body.replaceChildren(...scores.map(({ label, score }) => {
    const row = document.createElement("tr");
    row.insertCell().textContent = label;
    row.insertCell().textContent = percent(score);
    return row;
  }));
}

function model({ model, weight, top, error }) {
  const part = document.createElement("table");
  const caption = part.createCaption();
  caption.textContent = error ? `${model}: ${error}` : `${model}, weight ${percent(weight)}`;
  table(part.createTBody(), top ?? []);
  return part;
}

function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

function show(answer) {
  notice([answer.degraded, ...(answer.notes ?? [])].filter(Boolean).join(" "));
  byId("label").textContent = answer.label;
  table(byId("top"), answer.top);
  byId("models").replaceChildren(...answer.models.map(model));
  byId("trace").textContent = answer.traceId ?? "none";
  byId("answer").hidden = false;
}

async function classify(file) {
  byId("answer").hidden = true;
  notice("Looking at it …");
  try {
    const response = await fetch("/classify", { method: "POST", body: file });
    const answer = await response.json();
    if (response.ok) show(answer);
    else notice(answer.detail);
  } catch (error) {
    notice(`The picture could not be sent: ${error.message}`);
  }
}

let shown;
byId("file").addEventListener("change", ({ target }) => {
  if (shown) URL.revokeObjectURL(shown);
  const [file] = target.files;
  shown = file && URL.createObjectURL(file);
  byId("preview").hidden = !file;
  if (shown) byId("preview").src = shown;
});

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const [file] = byId("file").files;
  if (file) classify(file);
});
