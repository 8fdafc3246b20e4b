// The checkout page: mounts Stripe's Payment Element and pays. Also the page that saves a card without paying, which differs in little: there is no price, and it
// is a SetupIntent that is confirmed.
//
// The flow is Stripe's "collect payment details before creating an intent": Elements are made from the amount alone, so that who only looks makes no
// intent. Every press of the button asks the server for the order's intent anew. The server answers with the same one as long as it is open, but it prices
// the order each time and knows when it is paid meanwhile, in another tab for example; a client secret kept from the first press would know neither.

(() => {
  "use strict";

  /** @typedef {{minor: number, currency: string}} Price */
  /** @typedef {{captureMethod?: string, setupFutureUsage?: string, onBehalfOf?: string}} Terms */
  /** @typedef {Terms & {clientSecret: string, amount: number, currency: string}} Intent */
  /** @typedef {"automatic" | "manual"} CaptureMethod */
  /** @typedef {"off_session" | "on_session"} FutureUsage */
  /** @typedef {Partial<import("@stripe/stripe-js").PaymentIntentResult & import("@stripe/stripe-js").SetupIntentResult>} Result */

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
  /** Whether a card is only saved here, and nothing is paid. */
  const saving = form.dataset.mode === "setup";
  /** When the money is taken. Elements and the intent must agree. */
  const captureMethod = /** @type {CaptureMethod} */ (form.dataset.captureMethod || "automatic");
  /** The usage of the payment method, if it is saved. Elements and the intent must agree. */
  const setupFutureUsage = /** @type {FutureUsage | undefined} */ (form.dataset.setupFutureUsage || undefined);
  /** The connected account that is the business of record. Elements and the intent must agree. */
  const onBehalfOf = form.dataset.onBehalfOf || undefined;
  /** This page's wish to save a card: the button pressed again is the same wish. */
  const wish = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  /** How long the form may take before the buyer is offered another try, in milliseconds. */
  const SLOW = 10000;
  /** How long the form may take to say that it is ready before the button works without that, in milliseconds. */
  const GRACE = 2000;
  /** How long the server may take. Its own deadline towards Stripe is shorter. In milliseconds. */
  const PATIENCE = 30000;
  /** The longest return address that carries the page's query, in characters. */
  const LONGEST_RETURN = 2000;
  /** The codes that end the page, and those of them that are good news. */
  const CLOSED = ["order_paid", "payment_processing", "order_called_off", "too_many_declines"];
  const SETTLED = ["order_paid", "payment_processing"];

  /** @type {import("@stripe/stripe-js").Stripe | undefined} */
  let stripe;
  /** @type {import("@stripe/stripe-js").StripeElements | undefined} */
  let elements;
  /** Whether a payment is under way: one at a time. */
  let busy = false;
  /** Whether Stripe has been asked to pay since the button was pressed. */
  let confirming = false;
  /** Whether the form says itself what is wrong with its fields, as Stripe's does. */
  let showsFlaws = false;

  /** Something from outside did not arrive. */
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
   * A sentence of the template.
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
   * The total that a document shows.
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
   * The button is not disabled while it works: that would throw the keyboard's focus away.
   * @param {boolean} now
   * @param {string} [sentence]
   */
  function setBusy(now, sentence = "") {
    busy = now;
    form.setAttribute("aria-busy", String(now));
    button.setAttribute("aria-disabled", String(now));
    progress.textContent = sentence;
  }

  /** Nothing more to pay here. */
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
        // Below 16 px a telephone zooms in when a field is touched.
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
   * What Stripe.js needs to show the cards that this visitor saved. Without it the page is as good, but for these.
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
    // While it is only slow the form may still come.
    if (reason === "failed" || reason === "broken") loading.hidden = true;
  }

  async function start() {
    showFailure("");
    // Not over a form that works already.
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
            // Our intents name no capture method unless it is manual. Elements do the same.
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

  /** The form can be filled in. */
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
      // Stripe.js says when it is ready. Another implementation may be silent, or know no events at all: that must not keep a form that is there from being used.
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
   * The order's intent, or what to tell the buyer.
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
   * The price is not what the page shows. The summary is fetched anew; what the buyer has typed stays.
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
      // How many decimals the new currency has only the server knows.
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
   * Stripe's redirect, done by ourselves: the intent turned out to be settled before this press.
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
   * Whether the intent has the terms of the form on this page: capture, saving, account.
   * @param {Intent} intent
   */
  function agreesWith(intent) {
    const captured = (intent.captureMethod ?? "automatic") === captureMethod;
    return captured && intent.setupFutureUsage === setupFutureUsage && intent.onBehalfOf === onBehalfOf;
  }

  /**
   * Whether the buyer stays on this page, leaves it for the receipt, or sees it reloaded.
   * @returns {Promise<"staying" | "leaving" | "reloading">}
   */
  async function pay() {
    if (!stripe || !elements) return "staying";
    confirming = false;
    let invalid;
    try {
      invalid = (await elements.submit())?.error;
    } catch (error) {
      // Nothing has been asked of anybody yet: the form was not ready for it.
      console.error("The payment form could not be read:", error);
      invalid = { message: text("incomplete") };
    }
    if (invalid) {
      // Stripe's form says beside its field what is missing. Twice is once too often.
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
    // From Stripe.js only a failure comes back, because whatever succeeds has left the page. Another implementation may leave the redirect to us.
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

  // On the document, because a changed price brings another summary.
  document.addEventListener("click", (event) => {
    const toggle = event.target instanceof Element && event.target.closest("#summary-toggle");
    if (!toggle) return;
    const folded = document.getElementById("lines")?.classList.toggle("folded");
    toggle.setAttribute("aria-expanded", String(!folded));
  });

  // Back from the receipt or the bank, a browser may show this page as it was left. What it shows may be paid by now.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  // Its newer name is unknown to Safari before 14.
  dark.addListener(() => elements?.update({ appearance: appearance() }));

  writeAmounts(document);
  explainReload();
  start();
  // For old-browser.js.
  document.documentElement.dataset.script = "runs";
})();
