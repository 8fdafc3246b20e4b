// The page that a buyer comes back to: hides the client secret, and asks until the outcome is
// final.

(() => {
  "use strict";

  /**
   * The id and the client secret of a PaymentIntent, or of a SetupIntent if a card was saved; or
   * the id of a Checkout Session.
   * @typedef {Record<string, string>} Ticket
   */
  /** @typedef {{ticket: Ticket, order?: string}} Kept */
  /** @typedef {{status?: string, message?: string, code?: string}} Answer */

  const SETTLED = ["succeeded", "requires_capture", "requires_payment_method", "canceled"];
  const RETRYABLE = ["requires_payment_method", "requires_action", "canceled"];

  /** The first wait between two requests, the longest one, and when to stop, in milliseconds. */
  const FIRST_WAIT = 1000;
  const LONGEST_WAIT = 10000;
  const PATIENCE = 5 * 60000;
  /** The codes of final errors. */
  const UNKNOWN = ["unknown_payment", "invalid_request"];

  /**
   * Stripe's redirect puts the client secret into the address. This function removes it before the
   * page is rendered. It keeps the secret only in this entry of the tab's history, so that a reload
   * can ask again.
   * @returns {Kept | undefined}
   */
  function takeTicket() {
    const query = new URLSearchParams(location.search);
    // The id of Stripe's own page is no secret: it stays, so that a reload shows the same.
    const session_id = query.get("session_id");
    if (session_id) return { ticket: { session_id } };
    for (const name of ["payment_intent", "setup_intent"]) {
      const id = query.get(name);
      const secret = query.get(`${name}_client_secret`);
      if (!id || !secret) continue;
      const kept = { ticket: { [name]: id, [`${name}_client_secret`]: secret } };
      // The query of the page that the buyer left stays: it is the way back, also after a reload.
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

  /**
   * Keeps the order's address beside the ticket. After a reload the address has no secret, and then
   * the server does not reveal the order.
   */
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
   * Shows one of the outcomes that the page contains.
   * @param {string} state
   * @param {string} [message]
   */
  function show(state, message) {
    const outcome = document.getElementById("outcome");
    const chosen = outcome?.querySelector(`[data-outcome="${CSS.escape(state)}"]`);
    // A status for which the page has no text changes nothing.
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
      // Buyers who come back from their bank's application want the status at once.
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
   * Asks our own server for the payment's status. Returns nothing if the server cannot be reached
   * or something else responds.
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
    // old-browser.js checks this.
    document.documentElement.dataset.script = "runs";
    if (SETTLED.includes(state)) return;
    if (!kept) return show("not_found");
    askUntilSettled(kept.ticket).catch((error) => {
      console.error("The page of the outcome failed:", error);
      show("still_processing");
    });
  });
})();
