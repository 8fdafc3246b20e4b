// The page that a buyer comes back to: hides the client secret, and asks until the payment is settled.

(() => {
  "use strict";

  /** @typedef {Record<string, string>} Ticket the id and the client secret of a PaymentIntent, or of a SetupIntent where a card was saved; or the id of a Checkout Session */
  /** @typedef {{ticket: Ticket, order?: string}} Kept */

  const SETTLED = ["succeeded", "requires_capture", "requires_payment_method", "canceled"];
  const RETRYABLE = ["requires_payment_method", "requires_action", "canceled"];

  /** The first wait between two questions and the longest, and when to stop asking, in milliseconds. */
  const FIRST_WAIT = 1_000;
  const LONGEST_WAIT = 10_000;
  const PATIENCE = 5 * 60_000;

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
      history.replaceState(kept, "", `${location.pathname}?${name}=${encodeURIComponent(id)}`);
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

  /** The page that the buyer paid on, if it was in this tab and belongs to this shop. */
  function checkoutUrl() {
    try {
      const url = new URL(sessionStorage.getItem("stripe-checkout:retry") ?? "", location.origin);
      return url.pathname === new URL("../checkout", location.href).pathname ? url.href : undefined;
    } catch {
      return undefined;
    }
  }

  /** @param {string} state */
  function offerRetry(state) {
    const retry = link("try-again");
    if (!retry) return;
    const url = retry.getAttribute("href") || checkoutUrl();
    if (url) retry.href = url;
    retry.hidden = !url || !RETRYABLE.includes(state);
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

  /** @param {Ticket} ticket */
  async function askUntilSettled(ticket) {
    const started = performance.now();
    for (let pause = FIRST_WAIT; performance.now() - started < PATIENCE; pause = Math.min(pause * 1.5, LONGEST_WAIT)) {
      let atLeast = 0;
      try {
        const response = await fetch(document.getElementById("outcome")?.dataset.status ?? "status", {
          method: "POST",
          headers: { "Content-Type": "application/json", Accept: "application/json" },
          body: JSON.stringify(ticket),
          cache: "no-store",
          signal: AbortSignal.timeout(LONGEST_WAIT * 3),
        });
        if (response.ok) {
          const { status, message } = await response.json();
          show(status, message);
          if (SETTLED.includes(status)) return;
        } else if (response.status === 400 || response.status === 404) {
          return show("not_found");
        } else {
          atLeast = Number(response.headers.get("Retry-After")) * 1_000 || 0;
        }
      } catch {
        // No network for the moment: ask again.
      }
      await wait(Math.max(pause, atLeast));
    }
    show("still_processing");
  }

  /**
   * Writes an amount in the currency's own form: as in checkout.js, the digits as text and never through a float.
   * @param {HTMLDataElement} amount
   */
  function write(amount) {
    const currency = amount.dataset.currency ?? "";
    const decimals = Number(amount.dataset.decimals);
    const digits = amount.value.padStart(decimals + 1, "0");
    const whole = digits.slice(0, digits.length - decimals);
    const exact = decimals === 0 ? whole : `${whole}.${digits.slice(-decimals)}`;
    const language = document.documentElement.lang || undefined;
    const usual = new Intl.NumberFormat(language, { style: "currency", currency }).resolvedOptions().maximumFractionDigits ?? decimals;
    const format = new Intl.NumberFormat(language, {
      style: "currency",
      currency,
      minimumFractionDigits: Math.min(usual, decimals),
      maximumFractionDigits: decimals,
    });
    amount.textContent = format.format(/** @type {Intl.StringNumericLiteral} */ (exact));
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const amount of document.querySelectorAll("data.money")) {
      if (amount instanceof HTMLDataElement) write(amount);
    }
    const state = document.getElementById("outcome")?.dataset.state ?? "unknown";
    offerOrder();
    offerRetry(state);
    if (SETTLED.includes(state)) return;
    if (kept) askUntilSettled(kept.ticket);
    else show("not_found");
  });
})();
