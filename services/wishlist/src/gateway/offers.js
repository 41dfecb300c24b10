// Shows offers as they arrive. Without it the page shows those that there were when it was loaded.
"use strict";

(() => {
  const state = document.getElementById("offers-state");
  const lists = new Map();
  for (const list of document.querySelectorAll("ul.offers")) lists.set(list.dataset.wish, list);
  if (!state || lists.size === 0) return;

  const part = (name, kind, text) => {
    const element = document.createElement(name);
    element.className = kind;
    element.textContent = text;
    return element;
  };

  const key = (offer) => `${offer.marketplace}/${offer.id}`;

  const item = (offer) => {
    const element = document.createElement("li");
    element.dataset.offer = key(offer);
    element.dataset.price = offer.price;
    element.append(
      part("span", "price", `${offer.price} ${offer.currency}`),
      " ",
      part("span", "title", offer.title),
      " ",
      part("span", "where", `${offer.seller} on ${offer.marketplace}`),
    );
    return element;
  };

  const show = (offer, isNew) => {
    const list = lists.get(offer.wishId);
    if (!list) return;
    const shown = [...list.children];
    if (shown.some((other) => other.dataset.offer === key(offer))) return;
    const element = item(offer);
    element.classList.toggle("new", isNew);
    const dearer = shown.find((other) => Number(other.dataset.price) > Number(offer.price));
    list.insertBefore(element, dearer ?? null);
  };

  const showMissing = (missing) => {
    const texts = missing.map(({ marketplace, why }) => `${marketplace} (${why})`);
    state.textContent = texts.length ? `Missing now: ${texts.join(", ")}.` : "";
  };

  const showAway = (why) => {
    state.textContent = `No news of offers: ${why}.`;
  };

  const showListing = (listing) => {
    const known = new Set(listing.offers.map(key));
    for (const list of lists.values()) {
      for (const shown of [...list.children]) if (!known.has(shown.dataset.offer)) shown.remove();
    }
    for (const offer of listing.offers) show(offer, false);
    showMissing(listing.missing);
  };

  const listing = async () => {
    try {
      const answer = await fetch("/api/offers", { signal: AbortSignal.timeout(5000) });
      const body = await answer.json();
      return answer.ok ? () => showListing(body) : () => showAway(body.detail);
    } catch {
      return () => showAway("the gateway cannot be reached");
    }
  };

  // A listing may be older than news that arrive before it: these wait, and are shown after it.
  let asked = 0;
  let waiting = null;
  const refresh = async () => {
    const turn = ++asked;
    waiting ??= [];
    const showIt = await listing();
    if (turn !== asked) return;
    showIt();
    for (const showNews of waiting) showNews();
    waiting = null;
  };

  const source = new EventSource("/api/offers/stream");
  const on = (name, then) => source.addEventListener(name, (event) => {
    const showNews = () => then(JSON.parse(event.data));
    if (waiting) waiting.push(showNews);
    else showNews();
  });
  source.addEventListener("open", refresh);
  source.addEventListener("back", refresh);
  on("offer", (offer) => show(offer, true));
  on("missing", showMissing);
  on("away", showAway);
})();
