// Updates the order page when the order's status changes, for example to "paid". This script
// decides nothing. It asks the API for the status. If that differs from the shown one, it fetches
// the page again and shows it.
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
    // The shop empties the cart once it is paid.
    const cart = next.querySelector(".cart-link");
    if (cart) document.querySelector(".cart-link")?.replaceWith(cart);
    // Screen readers announce a live region only if it existed before the change.
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
      // Offline, or the shop is restarting. The next request may succeed.
    }
    setTimeout(ask, wait);
    wait = Math.min(wait * 1.1, LONGEST);
  }

  ask();
})();
