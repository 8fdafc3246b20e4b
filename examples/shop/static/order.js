// Makes the order page turn to "paid" by itself. Nothing is decided here: it asks the API, and when the status there is another than the one shown,
// it fetches the page again and shows that.
"use strict";

(() => {
  const FIRST = 1000;
  const LONGEST = 15000;
  let wait = FIRST;

  const shown = () => document.getElementById("order");

  async function show() {
    const answer = await fetch(location.pathname, { cache: "no-store" });
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    const order = next.getElementById("order");
    if (!order) return;
    shown()?.replaceWith(order);
    document.title = next.title;
    // The cart is emptied once it is paid.
    const cart = next.querySelector(".cart-link");
    if (cart) document.querySelector(".cart-link")?.replaceWith(cart);
    // A live region that was there before the change is read out; one that comes with the change is not.
    const news = document.getElementById("news");
    if (news) news.textContent = order.querySelector(".state")?.textContent?.trim().replace(/\s+/g, " ") ?? "";
  }

  async function ask() {
    const order = shown();
    if (!order || order.dataset.settled === "true") return;
    try {
      const answer = await fetch(`/api/orders/${order.dataset.id}`, { cache: "no-store" });
      if (answer.ok && (await answer.json()).status !== order.dataset.status) {
        await show();
        wait = FIRST;
      }
    } catch {
      // Offline, or the shop is starting again: the next question will tell.
    }
    setTimeout(ask, wait);
    wait = Math.min(wait * 1.1, LONGEST);
  }

  ask();
})();
