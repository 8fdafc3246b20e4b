// The page that a buyer comes back to: hides the client secret, and asks until the payment is settled.

(() => {
  "use strict";

  /** @typedef {{payment_intent: string, payment_intent_client_secret: string}} Ticket */

  const SETTLED = ["succeeded", "requires_capture", "requires_payment_method", "canceled"];
  const RETRYABLE = ["requires_payment_method", "requires_action", "canceled"];

  /** The first wait between two questions and the longest, and when to stop asking, in milliseconds. */
  const FIRST_WAIT = 1_000;
  const LONGEST_WAIT = 10_000;
  const PATIENCE = 5 * 60_000;

  const outcome = document.getElementById("outcome");
  const tryAgain = document.getElementById("try-again");

  /**
   * Stripe's redirect puts the client secret into the address. It is taken out before anything else can read or send it, and kept where only this entry
   * of the tab's history has it, so that a reload can ask again.
   * @returns {Ticket | undefined}
   */
  function takeTicket() {
    const query = new URLSearchParams(location.search);
    const payment_intent = query.get("payment_intent");
    const payment_intent_client_secret = query.get("payment_intent_client_secret");
    if (!payment_intent || !payment_intent_client_secret) return history.state?.ticket;
    const ticket = { payment_intent, payment_intent_client_secret };
    history.replaceState({ ticket }, "", `${location.pathname}?payment_intent=${encodeURIComponent(payment_intent)}`);
    return ticket;
  }

  const ticket = takeTicket();

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
    if (!(tryAgain instanceof HTMLAnchorElement)) return;
    const url = tryAgain.getAttribute("href") || checkoutUrl();
    if (url) tryAgain.href = url;
    tryAgain.hidden = !url || !RETRYABLE.includes(state);
  }

  /**
   * Shows one outcome of those that the page holds.
   * @param {string} state
   * @param {string} [message]
   */
  function show(state, message) {
    if (!outcome || outcome.dataset.state === state) return;
    outcome.dataset.state = state;
    for (const section of outcome.querySelectorAll("section")) {
      section.hidden = section.dataset.outcome !== state;
      const sentence = section.querySelector("[data-message]");
      if (!section.hidden && message && sentence) sentence.textContent = message;
    }
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
      try {
        const response = await fetch("status", {
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
          pause = Math.max(pause, Number(response.headers.get("Retry-After")) * 1_000 || 0);
        }
      } catch {
        // No network for the moment: ask again.
      }
      await wait(pause);
    }
    show("still_processing");
  }

  /**
   * An amount in the currency's own form: as in checkout.js, the digits as text and never through a float.
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

  for (const amount of document.querySelectorAll("data.money")) {
    if (amount instanceof HTMLDataElement) write(amount);
  }

  const state = outcome?.dataset.state ?? "unknown";
  offerRetry(state);
  if (!SETTLED.includes(state)) {
    if (ticket) askUntilSettled(ticket);
    else show("not_found");
  }
})();
