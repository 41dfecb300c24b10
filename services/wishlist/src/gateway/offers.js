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

  const refresh = async () => {
    try {
      const answer = await fetch("/api/offers");
      const body = await answer.json();
      if (!answer.ok) return showAway(body.detail);
      const known = new Set(body.offers.map(key));
      for (const list of lists.values()) {
        for (const shown of [...list.children]) if (!known.has(shown.dataset.offer)) shown.remove();
      }
      for (const offer of body.offers) show(offer, false);
      showMissing(body.missing);
    } catch {
      showAway("the gateway can't be reached");
    }
  };

  const source = new EventSource("/api/offers/stream");
  const on = (name, then) => source.addEventListener(name, (event) => then(JSON.parse(event.data)));
  source.addEventListener("open", refresh);
  on("back", refresh);
  on("offer", (offer) => show(offer, true));
  on("missing", showMissing);
  on("away", showAway);
})();
