// Shows offers as they arrive. Without this script, the page shows only those found before it was loaded.
"use strict";

(() => {
  const state = document.getElementById("offers-state");
  const lists = new Map();
  for (const list of document.querySelectorAll("ul.offers")) lists.set(list.dataset.wish, list);
  if (!state || lists.size === 0) return;

  const create = (name, className, text) => {
    const element = document.createElement(name);
    element.className = className;
    // Not `innerHTML`: a marketplace may send anything.
    element.textContent = text;
    return element;
  };

  const key = (offer) => `${offer.marketplace}/${offer.id}`;

  const createItem = (offer) => {
    const element = document.createElement("li");
    const title = create("span", "title", offer.title);
    title.dir = "auto";
    element.dataset.offer = key(offer);
    element.dataset.price = offer.price;
    element.append(
      create("span", "price", `${offer.price} ${offer.currency}`),
      " ",
      title,
      " ",
      create("span", "where", `${offer.seller} on ${offer.marketplace}`),
    );
    return element;
  };

  const showOffer = (offer, isNew) => {
    const list = lists.get(offer.wishId);
    if (!list) return;
    const shown = [...list.children];
    if (shown.some((other) => other.dataset.offer === key(offer))) return;
    const element = createItem(offer);
    element.classList.toggle("new", isNew);
    const moreExpensive = shown.find((other) => Number(other.dataset.price) > Number(offer.price));
    list.insertBefore(element, moreExpensive ?? null);
  };

  const showMissing = (missing) => {
    const texts = missing.map(({ marketplace, why }) => `${marketplace} (${why})`);
    state.textContent = texts.length ? `Unavailable marketplaces: ${texts.join(", ")}.` : "";
  };

  const showUnavailable = (reason) => {
    state.textContent = `Cannot update offers: ${reason}.`;
  };

  const showListing = (listing) => {
    const known = new Set(listing.offers.map(key));
    for (const list of lists.values()) {
      for (const shown of [...list.children]) if (!known.has(shown.dataset.offer)) shown.remove();
    }
    for (const offer of listing.offers) showOffer(offer, false);
    showMissing(listing.missing);
  };

  const fetchListing = async () => {
    try {
      const response = await fetch("/api/offers", { signal: AbortSignal.timeout(5000) });
      const body = await response.json();
      return response.ok ? () => showListing(body) : () => showUnavailable(body.detail);
    } catch {
      return () => showUnavailable("the gateway cannot be reached");
    }
  };

  // A listing may be older than updates that arrive while it is fetched, so they are applied after it.
  let refreshes = 0;
  let pending = null;
  const refresh = async () => {
    const number = ++refreshes;
    pending ??= [];
    const apply = await fetchListing();
    // A later refresh has replaced this one.
    if (number !== refreshes) return;
    apply();
    for (const update of pending) update();
    pending = null;
  };

  const source = new EventSource("/api/offers/stream");
  const on = (name, handle) => source.addEventListener(name, (event) => {
    const update = () => handle(JSON.parse(event.data));
    if (pending) pending.push(update);
    else update();
  });
  source.addEventListener("open", refresh);
  source.addEventListener("available", refresh);
  on("offer", (offer) => showOffer(offer, true));
  on("missing", showMissing);
  on("unavailable", showUnavailable);
})();
