// The search for traces: adds new traces to the list while "Follow new traces" is on. The page for a
// trace from a file: reads the file.

const POLL_MILLIS = 2_000;
const RETRY_MILLIS = 10_000;
// The list stays short enough to scroll.
const MAX_ROWS = 200;

const list = document.querySelector(".results");
const button = document.getElementById("follow");
const arrived = document.getElementById("arrived");

if (list && button) {
  let timer = null;
  button.parentElement.hidden = false;
  button.addEventListener("click", () => {
    const follows = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(follows));
    button.textContent = follows ? "Pause" : "Follow new traces";
    clearTimeout(timer);
    timer = null;
    if (follows) poll();
  });

  async function poll() {
    let wait = POLL_MILLIS;
    // A page in the background asks for nothing.
    if (!document.hidden) {
      try {
        add(await fetchRows());
      } catch {
        arrived.value = "cannot read new traces; trying again";
        wait = RETRY_MILLIS;
      }
    }
    if (button.getAttribute("aria-pressed") === "true") {
      clearTimeout(timer);
      timer = setTimeout(poll, wait);
    }
  }
}

async function fetchRows() {
  const parameters = new URLSearchParams(location.search);
  parameters.set("after", newest());
  const signal = AbortSignal.timeout(RETRY_MILLIS);
  const response = await fetch(`search/rows?${parameters}`, { signal });
  if (!response.ok) throw new Error(response.statusText);
  const fragment = new DOMParser().parseFromString(await response.text(), "text/html");
  return [...fragment.querySelectorAll(".result")];
}

// The newest start, in nanoseconds: too many digits for a number.
function newest() {
  const starts = [...list.children].map((row) => BigInt(row.dataset.start));
  return String(starts.reduce((a, b) => (a > b ? a : b), 0n));
}

// Adds the rows that the list does not have; a trace that has got more spans replaces its row.
function add(rows) {
  let added = 0;
  for (const row of rows.reverse()) {
    const known = [...list.children].find((it) => it.dataset.id === row.dataset.id);
    if (known?.contains(document.activeElement)) continue;
    if (known) {
      known.replaceWith(row);
    } else {
      list.prepend(row);
      added += 1;
    }
  }
  while (list.children.length > MAX_ROWS) list.lastElementChild.remove();
  if (added > 0) arrived.value = added === 1 ? "1 new trace" : `${added} new traces`;
}

const file = document.getElementById("file");

if (file) {
  file.parentElement.hidden = false;
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (chosen) document.getElementById("json").value = await chosen.text();
  });
}
