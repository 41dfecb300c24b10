// The page of a trace: collapsing, search, zoom and keys. Without this script, all rows are shown.

const rows = [...document.querySelectorAll(".rows > li")].map((item) => ({
  item,
  depth: Number(item.dataset.depth),
  fold: item.querySelector(":scope > .fold"),
  summary: item.querySelector("summary"),
  bar: item.querySelector(".bar"),
  // Repeated spans are rows within the row of their group.
  group: item.parentElement.closest(".group > details"),
  text: null,
}));

// A trace may have no spans.
if (rows.length > 0) {
  document.querySelector(".tools .live").hidden = false;
  document.querySelector(".waterfall").classList.add("live");
  const folds = folding();
  const matches = searching(folds);
  const time = zooming();
  shortcuts({ folds, matches, time });
}

// Collapsing

function folding() {
  const isOpen = (row) => row.fold?.getAttribute("aria-expanded") === "true";
  const set = (row, open) => row.fold?.setAttribute("aria-expanded", String(open));

  function update() {
    // The depth of the collapsed row above, whose children are hidden.
    let limit = Infinity;
    for (const row of rows) {
      if (row.depth <= limit) limit = Infinity;
      row.item.hidden = row.depth > limit;
      if (!row.item.hidden && row.fold && !isOpen(row)) limit = row.depth;
    }
  }

  function setAll(open) {
    for (const row of rows) set(row, open);
    update();
  }

  function setLevel(open) {
    const all = rows.filter((row) => row.fold && !row.item.hidden && isOpen(row) !== open);
    const depths = all.map((row) => row.depth);
    const depth = depths.reduce((a, b) => (open ? Math.min(a, b) : Math.max(a, b)), depths[0]);
    for (const row of all) if (row.depth === depth) set(row, open);
    update();
  }

  function reveal(row) {
    let depth = row.depth;
    for (let index = rows.indexOf(row) - 1; index >= 0 && depth > 0; index -= 1) {
      if (rows[index].depth < depth) {
        set(rows[index], true);
        depth = rows[index].depth;
      }
    }
    if (row.group) row.group.open = true;
    update();
  }

  for (const row of rows.filter((row) => row.fold)) {
    row.fold.hidden = false;
    row.fold.addEventListener("click", () => {
      set(row, !isOpen(row));
      update();
    });
  }
  // A link to a span in a collapsed part opens that part and the span's details.
  function follow() {
    const target = document.getElementById(location.hash.slice(1));
    // The row of a group contains those of its spans.
    const row = rows.findLast((row) => target && row.item.contains(target));
    if (row) {
      reveal(row);
      row.item.querySelector("details").open = true;
      target.scrollIntoView({ block: "center" });
    }
  }
  addEventListener("hashchange", follow);
  follow();
  onClick("collapse", () => setAll(false));
  onClick("expand", () => setAll(true));
  return { setAll, setLevel, reveal };
}

// Search

function searching(folds) {
  const field = document.getElementById("find");
  const count = document.getElementById("matches");
  let found = [];
  let at = -1;
  let timer;

  function search() {
    const wanted = field.value.trim().toLowerCase();
    const matches = (row) => {
      const isGroup = row.item.classList.contains("group");
      row.text ??= (isGroup ? row.summary : row.item).textContent.toLowerCase();
      return wanted !== "" && row.text.includes(wanted);
    };
    found = rows.filter(matches);
    at = -1;
    for (const row of rows) row.item.classList.remove("match", "current");
    for (const row of found) row.item.classList.add("match");
    if (found.length > 0) move(1);
    else count.value = wanted === "" ? "" : "no matches";
  }

  function move(by) {
    if (found.length === 0) return;
    found[at]?.item.classList.remove("current");
    at = (at + by + found.length) % found.length;
    const { item } = found[at];
    folds.reveal(found[at]);
    item.classList.add("current");
    item.scrollIntoView({ block: "center" });
    count.value = `${at + 1} of ${found.length}`;
  }

  function clear() {
    field.value = "";
    search();
  }

  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, 150);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") move(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") clear();
    else return;
    event.preventDefault();
  });
  onClick("previous-match", () => move(-1));
  onClick("next-match", () => move(1));
  return { focus: () => field.focus(), clear };
}

// Zoom

function zooming() {
  // A part of the trace, in percent.
  const all = { from: 0, to: 100 };
  const narrowest = 0.1;
  const total = Number(document.querySelector(".waterfall").dataset.nanos);
  const reset = document.getElementById("reset");
  const picture = document.querySelector(".minimap svg");
  const selected = picture?.querySelector(".selected");
  const ticks = [...document.querySelectorAll(".ticks span")];
  const bars = rows.map(({ bar }) => ({
    label: bar.querySelector("text"),
    parts: [...bar.querySelectorAll("rect")].map((rect) => ({
      rect,
      from: Number(rect.dataset.from),
      to: Number(rect.dataset.to),
    })),
  }));
  let shown = all;

  function show(from, to) {
    const width = Math.min(100, Math.max(narrowest, to - from));
    const start = Math.min(100 - width, Math.max(0, from));
    shown = { from: start, to: start + width };
    reset.hidden = width === 100;
    document.querySelector(".waterfall").classList.toggle("zoomed", width < 100);
    for (const bar of bars) place(bar);
    ticks.forEach((tick, index) => {
      const share = index === ticks.length - 1 ? 1 : index / 4;
      tick.textContent = duration(((start + width * share) / 100) * total);
    });
    mark(shown.from, width === 100 ? 0 : width);
  }

  function place({ label, parts }) {
    const scale = 100 / (shown.to - shown.from);
    const at = (percent) => (percent - shown.from) * scale;
    for (const { rect, from, to } of parts) {
      // Parts outside are not drawn; the others end at the edge, since browsers draw numbers that
      // are too large in the wrong place.
      const [start, end] = [Math.max(-1, at(from)), Math.min(101, at(to))];
      rect.setAttribute("x", `${Math.min(start, 99.75)}%`);
      rect.setAttribute("width", `${Math.max(0.25, end - start)}%`);
      rect.setAttribute("visibility", at(to) < 0 || at(from) > 100 ? "hidden" : "inherit");
    }
    const [start, end] = [at(parts[0].from), at(parts[0].to)];
    label.setAttribute("visibility", end < 0 || start > 100 ? "hidden" : "inherit");
    const [x, shift, anchor, inside] =
      end < 82 ? [Math.max(end, 0.25), 6, "start", false]
      : start > 18 ? [start, -6, "end", false]
      : [Math.min(end, 100), -6, "end", true];
    label.setAttribute("x", `${x}%`);
    label.setAttribute("dx", shift);
    label.setAttribute("text-anchor", anchor);
    label.classList.toggle("inside", inside);
  }

  // Marks a part of the picture.
  function mark(from, width) {
    selected?.setAttribute("x", from * 10);
    selected?.setAttribute("width", width * 10);
  }

  function zoom(factor) {
    const width = (shown.to - shown.from) * factor;
    const middle = (shown.from + shown.to) / 2;
    show(middle - width / 2, middle + width / 2);
  }

  function pan(share) {
    const by = (shown.to - shown.from) * share;
    show(shown.from + by, shown.to + by);
  }

  if (picture) {
    let anchor = null;
    const percent = (event) => {
      const box = picture.getBoundingClientRect();
      return Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width));
    };
    picture.addEventListener("pointerdown", (event) => {
      anchor = percent(event);
      picture.setPointerCapture(event.pointerId);
    });
    picture.addEventListener("pointermove", (event) => {
      if (anchor === null) return;
      const now = percent(event);
      mark(Math.min(anchor, now), Math.abs(now - anchor));
    });
    picture.addEventListener("pointerup", (event) => {
      if (anchor === null) return;
      const now = percent(event);
      // A click selects nothing.
      if (Math.abs(now - anchor) > 0.5) show(Math.min(anchor, now), Math.max(anchor, now));
      else show(shown.from, shown.to);
      anchor = null;
    });
    picture.addEventListener("pointercancel", () => {
      anchor = null;
      show(shown.from, shown.to);
    });
    picture.addEventListener("dblclick", () => show(0, 100));
  }
  onClick("reset", () => show(0, 100));
  return { zoom, pan };
}

// A duration with three significant digits, as the server writes one of less than a minute.
function duration(nanos) {
  const units = [["s", 1e9], ["ms", 1e6], ["µs", 1e3]];
  const [unit, size] = units.find(([, size]) => nanos >= size) ?? ["ns", 1];
  const number = nanos / size;
  if (number === 0) return "0";
  const digits = number >= 100 ? 0 : number >= 10 ? 1 : 2;
  return `${Number(number.toFixed(digits))} ${unit}`;
}

// Keys: those of Jaeger's page.

function shortcuts({ folds, matches, time }) {
  const dialog = document.getElementById("shortcuts");
  const enabled = document.getElementById("keys-on");
  enabled.checked = recall("keys") !== "off";
  enabled.addEventListener("change", () => remember("keys", enabled.checked ? "on" : "off"));
  onClick("keys", () => dialog.showModal());
  onClick("close-shortcuts", () => dialog.close());

  const keys = {
    f: () => step(1),
    b: () => step(-1),
    s: () => scrollBy({ top: innerHeight * 0.7 }),
    w: () => scrollBy({ top: innerHeight * -0.7 }),
    ArrowUp: (large) => time.zoom(large ? 0.4 : 0.8),
    ArrowDown: (large) => time.zoom(large ? 2.5 : 1.25),
    ArrowLeft: (large) => time.pan(large ? -0.5 : -0.1),
    ArrowRight: (large) => time.pan(large ? 0.5 : 0.1),
    a: (large) => time.pan(large ? -0.5 : -0.1),
    d: (large) => time.pan(large ? 0.5 : 0.1),
    "]": () => folds.setAll(false),
    "[": () => folds.setAll(true),
    p: () => folds.setLevel(false),
    o: () => folds.setLevel(true),
    "?": () => dialog.showModal(),
    Escape: () => matches.clear(),
  };

  addEventListener("keydown", (event) => {
    const isTyping = event.target.closest?.("input, select, textarea, dialog");
    if (event.defaultPrevented || isTyping || dialog.open) return;
    if (event.ctrlKey && event.key === "b") {
      matches.focus();
      event.preventDefault();
      return;
    }
    // A letter with Shift is the same key, as in Jaeger.
    const key = /^[A-Z]$/.test(event.key) ? event.key.toLowerCase() : event.key;
    const isPlain = !event.ctrlKey && !event.altKey && !event.metaKey;
    if (!isPlain || !enabled.checked || !Object.hasOwn(keys, key)) return;
    keys[key](event.shiftKey);
    event.preventDefault();
  });

  // Moves the focus to the next row that is not hidden.
  function step(by) {
    const open = rows.filter((row) => !row.item.hidden && row.group?.open !== false);
    const focused = open.findLastIndex((row) => row.item.contains(document.activeElement));
    const onScreen = open.findIndex((row) => row.item.getBoundingClientRect().top > 40);
    const next = focused < 0 ? onScreen : focused + by;
    const row = open[Math.min(open.length - 1, Math.max(0, next))];
    row.summary.focus();
    row.item.scrollIntoView({ block: "nearest" });
  }
}

function onClick(id, act) {
  document.getElementById(id)?.addEventListener("click", act);
}

// A browser may refuse to store anything; then the choice lasts as long as the page.
function recall(key) {
  try {
    return localStorage.getItem(`spoor-${key}`);
  } catch {
    return null;
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(`spoor-${key}`, value);
  } catch {
    // Not stored.
  }
}
