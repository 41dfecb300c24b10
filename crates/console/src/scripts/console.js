// What all pages share: copy buttons, announcements, and streams of events that reconnect.

const MIN_RETRY_MS = 2_000;
const MAX_RETRY_MS = 30_000;
// The time for which a copy button shows its result.
const COPIED_MS = 2_000;

showCopyButtons(document);
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (button) copy(button);
});

// Shows the copy buttons below an element. They are hidden on the server, since they need this script.
// The attribute `data-copy` is the ID of the element whose text is copied.
export function showCopyButtons(root) {
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
}

// Reports a change to screen readers.
export function announce(text) {
  const region = document.getElementById("announcements");
  if (!region) return;
  // Without the pause, the same text again would not be a change.
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 50);
}

// Follows a stream of events while the page is visible: a browser opens few connections to one host,
// and hidden pages would occupy them all. `handlers` has a function for each name of an event, called
// with the JSON of its data. `onProblem` is called with the reason while the stream is not up to date,
// and with null once it is. Returns a function that stops.
export function follow(url, handlers, onProblem = () => {}) {
  let source;
  let timer;
  let delay = MIN_RETRY_MS;
  let problem = null;

  function report(reason) {
    if (reason === problem) return;
    problem = reason;
    onProblem(reason);
  }

  function open() {
    if (source || document.hidden) return;
    source = new EventSource(url);
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        delay = MIN_RETRY_MS;
        report(null);
        handle(JSON.parse(event.data));
      });
    }
    // The server's event has a reason; the browser's has none, and means that the connection is lost.
    source.addEventListener("error", (event) => {
      if (typeof event.data === "string") return report(event.data);
      // A stream ends regularly; only if it cannot be opened again is there a problem.
      if (source?.readyState === EventSource.CLOSED) retry();
      else if (!timer) timer = setTimeout(reportLoss, MIN_RETRY_MS * 2);
    });
    source.addEventListener("open", () => clearTimer());
  }

  function reportLoss() {
    timer = undefined;
    if (source?.readyState !== EventSource.OPEN) {
      report("the connection is lost; this page tries to connect again");
    }
  }

  // The browser connects again after a lost connection, but not after a refusal.
  function retry() {
    close();
    report("the server does not send updates; this page tries again");
    timer = setTimeout(() => {
      timer = undefined;
      open();
    }, delay);
    delay = Math.min(delay * 2, MAX_RETRY_MS);
  }

  function clearTimer() {
    clearTimeout(timer);
    timer = undefined;
  }

  function close() {
    clearTimer();
    source?.close();
    source = undefined;
  }

  const update = () => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", update);
  open();
  return () => {
    document.removeEventListener("visibilitychange", update);
    close();
  };
}

async function copy(button) {
  const text = document.getElementById(button.dataset.copy);
  if (!text) return;
  try {
    await navigator.clipboard.writeText(text.textContent);
  } catch {
    // Without the right to use the clipboard, the text is selected, so that Ctrl+C copies it.
    getSelection().selectAllChildren(text);
    announce("Selected; copy with Ctrl+C");
    return;
  }
  // A second click must not take "Copied" for the label.
  button.dataset.label ??= button.textContent;
  button.textContent = "Copied";
  announce("Copied");
  setTimeout(() => (button.textContent = button.dataset.label), COPIED_MS);
}
