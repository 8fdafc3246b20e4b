// The checkout page: mounts Stripe's Payment Element and pays. It is also the page that saves a
// card without paying. That page differs only a little: it has no price, and it confirms a
// SetupIntent.
//
// The flow is Stripe's "collect payment details before creating an intent". Elements need only the
// amount, so that visitors who only look create no intent. Every press of the button requests the
// order's intent from the server again. The server returns the same intent as long as it is open.
// It also prices the order each time and knows whether it was paid meanwhile, for example in
// another tab. A client secret from the first press would miss both.

(() => {
  "use strict";

  /** @typedef {{minor: number, currency: string}} Price */
  /** @typedef {{captureMethod?: string, setupFutureUsage?: string, onBehalfOf?: string}} Terms */
  /** @typedef {Terms & {clientSecret: string, amount: number, currency: string}} Intent */
  /** @typedef {"automatic" | "manual"} CaptureMethod */
  /** @typedef {"off_session" | "on_session"} FutureUsage */
  /**
   * @typedef {Partial<import("@stripe/stripe-js").PaymentIntentResult
   *   & import("@stripe/stripe-js").SetupIntentResult>} Result
   */

  /**
   * @template {HTMLElement} T
   * @param {string} id
   * @param {new () => T} type
   * @returns {T}
   */
  function element(id, type) {
    const found = document.getElementById(id);
    if (!(found instanceof type)) throw new Error(`The page needs an element with the id "${id}".`);
    return found;
  }

  const form = element("payment-form", HTMLFormElement);
  const button = element("submit", HTMLButtonElement);
  const message = element("payment-message", HTMLElement);
  const failure = element("payment-failure", HTMLElement);
  const loading = element("payment-loading", HTMLElement);
  const progress = element("progress", HTMLElement);
  const texts = element("texts", HTMLTemplateElement);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  /** Whether the page only saves a card, without a payment. */
  const saving = form.dataset.mode === "setup";
  /** When the money is collected. Elements and the intent must agree. */
  const captureMethod = /** @type {CaptureMethod} */ (form.dataset.captureMethod || "automatic");
  /** The usage of the payment method, if it is saved. Elements and the intent must agree. */
  const setupFutureUsage = /** @type {FutureUsage | undefined} */ (form.dataset.setupFutureUsage || undefined);
  /** The connected account that is the business of record. Elements and the intent must agree. */
  const onBehalfOf = form.dataset.onBehalfOf || undefined;
  /** The reference of the request to save a card. Each press of the button uses the same one. */
  const wish = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  /** The time for the form to load before the buyer can try again, in milliseconds. */
  const SLOW = 10000;
  /** The time for the form to report that it is ready, in ms. Then the button works anyway. */
  const GRACE = 2000;
  /** The server's time to respond, in milliseconds. Its own deadline for Stripe is shorter. */
  const PATIENCE = 30000;
  /** The longest return address that carries the page's query, in characters. */
  const LONGEST_RETURN = 2000;
  /** The codes after which this page closes, and those of them that are not errors. */
  const CLOSED = ["order_paid", "payment_processing", "order_called_off", "too_many_declines"];
  const SETTLED = ["order_paid", "payment_processing"];

  /** @type {import("@stripe/stripe-js").Stripe | undefined} */
  let stripe;
  /** @type {import("@stripe/stripe-js").StripeElements | undefined} */
  let elements;
  /** Whether a payment is in progress: only one at a time. */
  let busy = false;
  /** Whether Stripe has been asked to pay since the button was pressed. */
  let confirming = false;
  /** Whether the form itself shows what is wrong with its fields, as Stripe's does. */
  let showsFlaws = false;

  /** Stripe.js or its form did not load. */
  class LoadError extends Error {}

  /**
   * The address to which Stripe sends the buyer back. Stripe adds its own parameters to it, so the
   * page's query travels in one parameter.
   */
  function returnAddress() {
    const url = new URL(form.dataset.complete ?? "checkout/complete", location.href);
    const bare = url.href;
    if (location.search) url.searchParams.set("checkout_query", location.search.slice(1));
    return url.href.length > LONGEST_RETURN ? bare : url.href;
  }

  // ---- Words and amounts ----

  /**
   * Returns a sentence of the template.
   * @param {string} name
   * @param {string} [total]
   */
  function text(name, total = "") {
    return (texts.content.querySelector(`[data-text="${name}"]`)?.textContent ?? name).replace("{total}", total);
  }

  /** @param {HTMLDataElement} amount */
  function written(amount) {
    return money(amount.value, amount.dataset.currency ?? "", Number(amount.dataset.decimals));
  }

  /** @param {ParentNode} part */
  function writeAmounts(part) {
    for (const amount of part.querySelectorAll("data.money")) {
      if (amount instanceof HTMLDataElement) amount.textContent = written(amount);
    }
  }

  /**
   * Returns the total that a document shows.
   * @param {Document} page
   */
  function totalOf(page) {
    const total = page.querySelector("#total data");
    return total instanceof HTMLDataElement ? total : undefined;
  }

  /** @returns {Price} */
  function shownPrice() {
    const total = totalOf(document);
    return { minor: Number(total?.value), currency: total?.dataset.currency ?? "" };
  }

  // ---- What the buyer sees ----

  /**
   * @param {string} sentence
   * @param {"error" | "notice"} [kind]
   */
  function say(sentence, kind = "error") {
    message.textContent = sentence;
    message.dataset.kind = kind;
    if (sentence) message.scrollIntoView({ block: "nearest", behavior: still.matches ? "auto" : "smooth" });
  }

  /**
   * Marks the page as busy. The button stays enabled: disabling it would lose the keyboard's focus.
   * @param {boolean} now
   * @param {string} [sentence]
   */
  function setBusy(now, sentence = "") {
    busy = now;
    form.setAttribute("aria-busy", String(now));
    button.setAttribute("aria-disabled", String(now));
    progress.textContent = sentence;
  }

  /** Closes the form: there is nothing more to pay here. */
  function close() {
    button.hidden = true;
    elements?.getElement?.("payment")?.destroy?.();
    const link = document.getElementById("order-link");
    if (!link) return;
    link.hidden = false;
    link.querySelector("a")?.focus();
  }

  // ---- Stripe.js and its form ----

  /** @returns {import("@stripe/stripe-js").Appearance} */
  function appearance() {
    const style = getComputedStyle(document.documentElement);
    const value = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    return {
      theme: dark.matches ? "night" : "stripe",
      disableAnimations: still.matches,
      variables: {
        colorPrimary: value("--accent"),
        colorBackground: value("--field"),
        colorText: value("--text"),
        colorTextSecondary: value("--muted"),
        colorTextPlaceholder: value("--placeholder"),
        colorDanger: value("--danger"),
        fontFamily: value("--font"),
        // Below 16 px, a phone zooms in when the buyer touches a field.
        fontSizeBase: "16px",
        borderRadius: value("--radius"),
        spacingUnit: "4px",
      },
    };
  }

  /** @returns {Promise<import("@stripe/stripe-js").StripeConstructor>} */
  function loadStripe() {
    return new Promise((resolve, reject) => {
      if (window.Stripe) return resolve(window.Stripe);
      const script = document.createElement("script");
      script.src = form.dataset.stripeJs ?? "";
      script.onload = () => (window.Stripe ? resolve(window.Stripe) : reject(new LoadError("Stripe.js defines no Stripe")));
      script.onerror = () => {
        script.remove();
        reject(new LoadError("Stripe.js did not load"));
      };
      document.head.append(script);
    });
  }

  /**
   * Returns what Stripe.js needs to show the visitor's saved cards. Without it, the rest of the
   * page works.
   * @returns {Promise<string | undefined>}
   */
  async function customerSession() {
    const address = form.dataset.customerSession;
    if (!address) return undefined;
    // The intent and the customer session must not both name a usage.
    const answered = await ask(address, { setupFutureUsage });
    return (answered?.ok && answered.answer.customerSessionClientSecret) || undefined;
  }

  /** @param {"failed" | "broken" | "slow" | ""} reason */
  function showFailure(reason) {
    failure.hidden = reason === "";
    for (const paragraph of failure.querySelectorAll("p")) paragraph.hidden = paragraph.dataset.reason !== reason;
    // While the form is only slow, it may still appear.
    if (reason === "failed" || reason === "broken") loading.hidden = true;
  }

  async function start() {
    showFailure("");
    // Do not cover a form that already works.
    loading.hidden = !button.disabled;
    const slow = setTimeout(() => showFailure("slow"), SLOW);
    try {
      const [Stripe, customerSessionClientSecret] = await Promise.all([loadStripe(), customerSession()]);
      if (elements) return;
      const locale = /** @type {import("@stripe/stripe-js").StripeElementLocale} */ (document.documentElement.lang || "auto");
      const price = shownPrice();
      const stripeAccount = form.dataset.stripeAccount;
      stripe = Stripe(form.dataset.publishableKey ?? "", { locale, ...(stripeAccount && { stripeAccount }) });
      const look = { locale, appearance: appearance() };
      elements = saving
        ? stripe.elements({ mode: "setup", ...(setupFutureUsage && { setupFutureUsage }), ...look })
        : stripe.elements({
            mode: "payment",
            amount: price.minor,
            currency: price.currency,
            // Our intents name a capture method only if it is manual. Elements do the same.
            ...(captureMethod === "manual" && { captureMethod }),
            ...(setupFutureUsage && { setupFutureUsage }),
            ...(onBehalfOf && { onBehalfOf }),
            ...(customerSessionClientSecret && { customerSessionClientSecret }),
            ...look,
          });
      await mount(elements.create("payment", { layout: "tabs" }));
      showFailure("");
    } catch (error) {
      elements = undefined;
      button.disabled = true;
      const isOutside = error instanceof LoadError;
      if (!isOutside) console.error("The payment form could not be shown:", error);
      showFailure(isOutside ? "failed" : "broken");
    } finally {
      clearTimeout(slow);
    }
  }

  /** Opens the form for input. */
  function open() {
    loading.hidden = true;
    button.disabled = false;
    if (!busy) form.setAttribute("aria-busy", "false");
  }

  /** @param {import("@stripe/stripe-js").StripePaymentElement} payment */
  function mount(payment) {
    return new Promise((resolve, reject) => {
      const grace = setTimeout(open, GRACE);
      const ready = () => {
        clearTimeout(grace);
        open();
        resolve(undefined);
      };
      // Stripe.js reports when the form is ready. Another implementation may report nothing, or
      // have no events at all. The buyer must still be able to use a form that is there.
      payment.on?.("ready", ready);
      payment.on?.("loaderstart", () => {
        loading.hidden = true;
      });
      payment.on?.("loaderror", (event) => {
        clearTimeout(grace);
        payment.destroy?.();
        const { type, message } = event?.error ?? {};
        const text = `The Payment Element did not load: ${message ?? type ?? ""}`;
        reject(type === "invalid_request_error" ? new Error(text) : new LoadError(text));
      });
      // The form reports its first state as a change. A notice stays until the button is pressed.
      payment.on?.("change", () => {
        if (message.dataset.kind === "error") say("");
      });
      payment.mount("#payment-element");
      showsFlaws = "on" in payment;
      if (!showsFlaws) ready();
    });
  }

  // ---- Paying ----

  /** Ends a request that takes too long. The oldest browsers have no `AbortSignal.timeout`. */
  function deadline() {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), PATIENCE);
    return controller.signal;
  }

  /**
   * Loads an address, and returns nothing if the network fails.
   *
   * Only the network may fail inside the `try`: the page must not blame the buyer's connection for
   * a fault of this script.
   * @param {string} address
   * @param {RequestInit} options
   */
  async function load(address, options) {
    try {
      const response = await fetch(address, options);
      return { ok: response.ok, text: await response.text() };
    } catch {
      return undefined;
    }
  }

  /**
   * Asks our own server, with the page's own query. Returns nothing if the server cannot be reached
   * or something else answers.
   * @param {string} address
   * @param {object} question
   * @returns {Promise<{ok: boolean, answer: any} | undefined>}
   */
  async function ask(address, question) {
    const loaded = await load(`${address}${location.search}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify(question),
      cache: "no-store",
      signal: deadline(),
    });
    if (!loaded) return undefined;
    let answer;
    try {
      answer = JSON.parse(loaded.text);
    } catch {
      return undefined;
    }
    return answer ? { ok: loaded.ok, answer } : undefined;
  }

  /**
   * Requests the order's intent. Returns it, or a message for the buyer.
   * @returns {Promise<Intent | {error: string, code: string}>}
   */
  async function createIntent() {
    const answered = await ask(form.dataset.create ?? "create-payment-intent", saving ? { reference: wish } : {});
    if (!answered) return { error: text("no_answer"), code: "no_answer" };
    const { ok, answer } = answered;
    return ok ? answer : { error: String(answer.error || text("refused")), code: String(answer.code || "") };
  }

  /**
   * Reloads the page, because a changed order needs another form. The new page says so once: the
   * state of this entry of the tab's history lasts over a reload.
   * @returns {"reloading"}
   */
  function showNewOrder() {
    history.replaceState({ orderChanged: true }, "");
    location.reload();
    return "reloading";
  }

  /** Says why the page reloaded itself, if it did. */
  function explainReload() {
    if (!history.state?.orderChanged) return;
    history.replaceState(null, "");
    say(text("order_changed"), "notice");
  }

  /**
   * Shows the new price, because the page shows another one. The summary is loaded again. The
   * buyer's input stays.
   * @param {Intent} intent
   * @returns {Promise<"staying" | "reloading">}
   */
  async function showNewPrice(intent) {
    // Without the new lines the page can still show the new total.
    const loaded = await load(location.href, { cache: "no-store", signal: deadline() });
    const page = loaded?.ok ? new DOMParser().parseFromString(loaded.text, "text/html") : undefined;
    const fresh = page && totalOf(page);
    const summary = page?.getElementById("summary");
    if (fresh && summary && Number(fresh.value) === intent.amount && fresh.dataset.currency === intent.currency) {
      document.getElementById("summary")?.replaceWith(document.importNode(summary, true));
    } else if (shownPrice().currency !== intent.currency) {
      // Only the server knows how many decimals the new currency has.
      return showNewOrder();
    } else {
      document.getElementById("lines")?.remove();
      document.getElementById("summary-toggle")?.remove();
    }
    const decimals = totalOf(document)?.dataset.decimals ?? "2";
    for (const amount of document.querySelectorAll("#total data, #submit data")) {
      if (!(amount instanceof HTMLDataElement)) continue;
      amount.value = String(intent.amount);
      amount.dataset.currency = intent.currency;
      amount.dataset.decimals = decimals;
    }
    writeAmounts(document);
    await elements?.update({ amount: intent.amount, currency: intent.currency });
    say(text("price_changed", money(String(intent.amount), intent.currency, Number(decimals))), "notice");
    return "staying";
  }

  /**
   * Does Stripe's redirect itself. Either the intent was settled before this press of the button,
   * or another implementation of Stripe.js leaves the redirect to this page.
   * @param {string} id
   * @param {string} clientSecret
   */
  function goToComplete(id, clientSecret) {
    const url = new URL(returnAddress());
    const name = saving ? "setup_intent" : "payment_intent";
    url.searchParams.set(name, id);
    url.searchParams.set(`${name}_client_secret`, clientSecret);
    location.assign(url);
  }

  /**
   * @param {import("@stripe/stripe-js").Stripe} stripe
   * @param {import("@stripe/stripe-js").StripeElements} elements
   * @param {string} clientSecret
   */
  function confirm(stripe, elements, clientSecret) {
    confirming = true;
    const return_url = returnAddress();
    if (!saving) return stripe.confirmPayment({ elements, clientSecret, confirmParams: { return_url } });
    // A buyer who saves a card here wants to see it again when they pay.
    const confirmParams = { return_url, payment_method_data: { allow_redisplay: /** @type {const} */ ("always") } };
    return stripe.confirmSetup({ elements, clientSecret, confirmParams });
  }

  /**
   * Whether the intent has the terms of this page's form: capture method, usage, business of
   * record.
   * @param {Intent} intent
   */
  function agreesWith(intent) {
    const captured = (intent.captureMethod ?? "automatic") === captureMethod;
    return captured && intent.setupFutureUsage === setupFutureUsage && intent.onBehalfOf === onBehalfOf;
  }

  /**
   * Pays. Returns whether the buyer stays on this page, leaves it for the receipt, or sees it
   * reloaded.
   * @returns {Promise<"staying" | "leaving" | "reloading">}
   */
  async function pay() {
    if (!stripe || !elements) return "staying";
    confirming = false;
    let invalid;
    try {
      invalid = (await elements.submit())?.error;
    } catch (error) {
      // No request was sent yet: the form was not ready.
      console.error("The payment form could not be read:", error);
      invalid = { message: text("incomplete") };
    }
    if (invalid) {
      // Stripe's form shows beside the field what is missing. Do not show it twice.
      const isShown = showsFlaws && "type" in invalid && invalid.type === "validation_error";
      if (!isShown) say(invalid.message ?? text("incomplete"));
      return "staying";
    }
    const intent = await createIntent();
    if ("error" in intent) {
      say(intent.error, SETTLED.includes(intent.code) ? "notice" : "error");
      if (CLOSED.includes(intent.code)) close();
      return "staying";
    }
    if (!saving && !agreesWith(intent)) return showNewOrder();
    const shown = shownPrice();
    if (!saving && (intent.amount !== shown.minor || intent.currency !== shown.currency)) {
      return showNewPrice(intent);
    }
    /** @type {Result | undefined} */
    const result = await confirm(stripe, elements, intent.clientSecret);
    // Stripe.js returns only failures, because a success leaves the page. Another implementation
    // may leave the redirect to this page.
    const error = result?.error;
    const settled = error?.payment_intent ?? error?.setup_intent ?? result?.paymentIntent ?? result?.setupIntent;
    if (settled && ["succeeded", "processing", "requires_capture"].includes(settled.status)) {
      goToComplete(settled.id, intent.clientSecret);
      return "leaving";
    }
    if (!error) return "leaving";
    // Only these sentences are meant for buyers.
    const readable = ["card_error", "validation_error"].includes(error.type) || /^(payment|setup)_intent_authentication_failure$/.test(error.code ?? "");
    const unclear = ["api_connection_error", "api_error"].includes(error.type);
    say((readable && error.message) || text(unclear ? "unclear" : "refused"));
    if (!readable && !unclear) console.error("Stripe refused the confirmation:", error.type, error.code ?? "", error.message ?? "");
    return "staying";
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy || !stripe) return;
    setBusy(true, text("busy"));
    say("");
    /** @type {"staying" | "leaving" | "reloading"} */
    let next = "staying";
    try {
      next = await pay();
    } catch (error) {
      console.error("The checkout page failed:", error);
      say(text(confirming ? "unclear" : "fault"));
    }
    if (next === "staying") setBusy(false);
    else progress.textContent = next === "leaving" ? text("redirecting") : "";
  });

  // ---- The page around it ----

  element("retry", HTMLButtonElement).addEventListener("click", start);

  // The listener is on the document, because a changed price replaces the summary.
  document.addEventListener("click", (event) => {
    const toggle = event.target instanceof Element && event.target.closest("#summary-toggle");
    if (!toggle) return;
    const folded = document.getElementById("lines")?.classList.toggle("folded");
    toggle.setAttribute("aria-expanded", String(!folded));
  });

  // If the buyer comes back from the receipt or the bank, a browser may show this page as it was.
  // The order may be paid by now.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  // Safari before 14 does not know its newer name.
  dark.addListener(() => elements?.update({ appearance: appearance() }));

  writeAmounts(document);
  explainReload();
  start();
  // old-browser.js checks this.
  document.documentElement.dataset.script = "runs";
})();
