"use strict";

const byId = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;

function fillRows(body, scores) {
  body.replaceChildren(...scores.map(({ label, score }) => {
    const row = document.createElement("tr");
    row.insertCell().textContent = label;
    row.insertCell().textContent = percent(score);
    return row;
  }));
}

function modelTable({ model, weight, top, error }) {
  const element = document.createElement("table");
  const caption = element.createCaption();
  caption.textContent = error ? `${model}: ${error}` : `${model}, weight ${percent(weight)}`;
  fillRows(element.createTBody(), top ?? []);
  return element;
}

function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

function showReply(reply) {
  notice([reply.degraded, ...(reply.notes ?? [])].filter(Boolean).join(" "));
  byId("label").textContent = reply.label;
  fillRows(byId("top"), reply.top);
  byId("models").replaceChildren(...reply.models.map(modelTable));
  byId("trace").textContent = reply.traceId ?? "none";
  byId("result").hidden = false;
}

async function classify(file) {
  byId("result").hidden = true;
  notice("Classifying …");
  try {
    const response = await fetch("/classify", { method: "POST", body: file });
    const reply = await response.json();
    if (response.ok) showReply(reply);
    else notice(reply.detail);
  } catch (error) {
    notice(`The picture could not be sent: ${error.message}`);
  }
}

let previewUrl;
byId("file").addEventListener("change", ({ target }) => {
  if (previewUrl) URL.revokeObjectURL(previewUrl);
  const [file] = target.files;
  previewUrl = file && URL.createObjectURL(file);
  byId("preview").hidden = !file;
  if (previewUrl) byId("preview").src = previewUrl;
});

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const [file] = byId("file").files;
  if (file) classify(file);
});
