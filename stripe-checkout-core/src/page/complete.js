// The page that a buyer comes back to: hides the client secret, and asks until the payment is settled.

(() => {
  "use strict";

  /** @typedef {Record<string, string>} Ticket the id and the client secret of a PaymentIntent, or of a SetupIntent where a card was saved; or the id of a Checkout Session */
  /** @typedef {{ticket: Ticket, order?: string}} Kept */
  /** @typedef {{status?: string, message?: string, code?: string}} Answer */

  const SETTLED = ["succeeded", "requires_capture", "requires_payment_method", "canceled"];
  const RETRYABLE = ["requires_payment_method", "requires_action", "canceled"];

  /** The first wait between two questions and the longest, and when to stop asking, in milliseconds. */
  const FIRST_WAIT = 1000;
  const LONGEST_WAIT = 10000;
  const PATIENCE = 5 * 60000;
  /** The codes of answers that will not change. */
  const UNKNOWN = ["unknown_payment", "invalid_request"];

  /**
   * Stripe's redirect puts the client secret into the address. It is taken out before the page is even there, and kept where only this entry of the tab's
   * history has it, so that a reload can ask again.
   * @returns {Kept | undefined}
   */
  function takeTicket() {
    const query = new URLSearchParams(location.search);
    // That of Stripe's own page is no secret: it stays, so that a reload shows the same.
    const session_id = query.get("session_id");
    if (session_id) return { ticket: { session_id } };
    for (const name of ["payment_intent", "setup_intent"]) {
      const id = query.get(name);
      const secret = query.get(`${name}_client_secret`);
      if (!id || !secret) continue;
      const kept = { ticket: { [name]: id, [`${name}_client_secret`]: secret } };
      // The page that the buyer left stays in it: the way back, also after a reload.
      const shown = new URLSearchParams({ [name]: id });
      const left = query.get("checkout_query");
      if (left) shown.set("checkout_query", left);
      history.replaceState(kept, "", `${location.pathname}?${shown}`);
      return kept;
    }
    return history.state?.ticket ? history.state : undefined;
  }

  const kept = takeTicket();

  /** @param {string} id */
  function link(id) {
    const found = document.getElementById(id);
    return found instanceof HTMLAnchorElement ? found : undefined;
  }

  /** @param {string} state */
  function offerRetry(state) {
    const retry = link("try-again");
    if (retry) retry.hidden = !retry.getAttribute("href") || !RETRYABLE.includes(state);
  }

  /** To a reload, which has no secret to show, the server does not tell the order: its address is kept beside the ticket. */
  function offerOrder() {
    const order = link("view-order");
    if (!order || !kept) return;
    const url = order.getAttribute("href");
    if ("session_id" in kept.ticket) return;
    if (url) history.replaceState({ ...kept, order: url }, "");
    else if (kept.order) {
      order.href = kept.order;
      order.hidden = false;
    }
  }

  /**
   * Shows one outcome of those that the page holds.
   * @param {string} state
   * @param {string} [message]
   */
  function show(state, message) {
    const outcome = document.getElementById("outcome");
    const chosen = outcome?.querySelector(`[data-outcome="${CSS.escape(state)}"]`);
    // A status that the page has no words for changes nothing.
    if (!outcome || !chosen || outcome.dataset.state === state) return;
    outcome.dataset.state = state;
    for (const section of outcome.querySelectorAll("section")) section.hidden = section !== chosen;
    const sentence = chosen.querySelector("[data-message]");
    if (message && sentence) sentence.textContent = message;
    document.title = chosen.querySelector("h1")?.textContent ?? document.title;
    offerRetry(state);
  }

  /** @param {number} milliseconds */
  function wait(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      // Who comes back from the bank's application wants to know now.
      document.addEventListener(
        "visibilitychange",
        () => {
          if (document.hidden) return;
          clearTimeout(timer);
          resolve(undefined);
        },
        { once: true },
      );
    });
  }

  /**
   * Asks our own server how the payment stands. Returns nothing if the server cannot be reached or
   * something else answers.
   * @param {Ticket} ticket
   * @returns {Promise<{answer: Answer, retryAfter: number} | undefined>}
   */
  async function ask(ticket) {
    const address = document.getElementById("outcome")?.dataset.status ?? "status";
    // The oldest browsers have no `AbortSignal.timeout`.
    const controller = new AbortController();
    setTimeout(() => controller.abort(), LONGEST_WAIT * 3);
    const options = {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify(ticket),
      cache: /** @type {const} */ ("no-store"),
      signal: controller.signal,
    };
    try {
      const response = await fetch(address, options);
      return { answer: await response.json(), retryAfter: Number(response.headers.get("Retry-After")) * 1000 || 0 };
    } catch {
      return undefined;
    }
  }

  /** @param {Ticket} ticket */
  async function askUntilSettled(ticket) {
    const started = performance.now();
    for (let pause = FIRST_WAIT; performance.now() - started < PATIENCE; pause = Math.min(pause * 1.5, LONGEST_WAIT)) {
      const { answer = {}, retryAfter = 0 } = (await ask(ticket)) ?? {};
      if (answer.status) {
        show(answer.status, answer.message);
        if (SETTLED.includes(answer.status)) return;
      } else if (answer.code && UNKNOWN.includes(answer.code)) {
        return show("not_found");
      }
      await wait(Math.max(pause, retryAfter));
    }
    show("still_processing");
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const amount of document.querySelectorAll("data.money")) {
      if (!(amount instanceof HTMLDataElement)) continue;
      amount.textContent = money(amount.value, amount.dataset.currency ?? "", Number(amount.dataset.decimals));
    }
    const state = document.getElementById("outcome")?.dataset.state ?? "unknown";
    offerOrder();
    offerRetry(state);
    // For old-browser.js.
    document.documentElement.dataset.script = "runs";
    if (SETTLED.includes(state)) return;
    if (!kept) return show("not_found");
    askUntilSettled(kept.ticket).catch((error) => {
      console.error("The page of the outcome failed:", error);
      show("still_processing");
    });
  });
})();
