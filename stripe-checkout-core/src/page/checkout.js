// The checkout page: mounts Stripe's Payment Element and pays. Also the page that saves a card without paying, which differs in little: there is no price, and it
// is a SetupIntent that is confirmed.
//
// The flow is Stripe's "collect payment details before creating an intent": Elements are made from the amount alone, so that who only looks makes no
// intent. Every press of the button asks the server for the order's intent anew. The server answers with the same one as long as it is open, but it prices
// the order each time and knows when it is paid meanwhile, in another tab for example; a client secret kept from the first press would know neither.

(() => {
  "use strict";

  /** @typedef {{minor: number, currency: string}} Price */
  /** @typedef {{clientSecret: string, amount: number, currency: string}} Intent */
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
  // No query of ours: Stripe appends the intent's.
  const returnUrl = new URL(form.dataset.complete ?? "checkout/complete", location.href).href;
  /** This page's wish to save a card: the button pressed again is the same wish. */
  const wish = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  /** How long the form may take before the buyer is offered another try, in milliseconds. */
  const SLOW = 10_000;
  /** How long the form may take to say that it is ready before the button works without that, in milliseconds. */
  const GRACE = 2_000;
  /** How long the server may take. Its own deadline towards Stripe is shorter. In milliseconds. */
  const PATIENCE = 30_000;

  /** @type {import("@stripe/stripe-js").Stripe | undefined} */
  let stripe;
  /** @type {import("@stripe/stripe-js").StripeElements | undefined} */
  let elements;
  /** Whether a payment is under way: one at a time. */
  let busy = false;

  // ---- Words and amounts ----

  /**
   * A sentence of the template.
   * @param {string} name
   * @param {string} [total]
   */
  function text(name, total = "") {
    return (texts.content.querySelector(`[data-text="${name}"]`)?.textContent ?? name).replace("{total}", total);
  }

  /**
   * An amount in the currency's own form. The digits are moved as text, never through a float.
   * @param {number} minor
   * @param {string} currency
   * @param {number} decimals as Stripe counts them, which for some currencies is not what their notation shows
   */
  function money(minor, currency, decimals) {
    const digits = String(minor).padStart(decimals + 1, "0");
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
    return format.format(/** @type {Intl.StringNumericLiteral} */ (exact));
  }

  /** @param {HTMLDataElement} amount */
  function written(amount) {
    return money(Number(amount.value), amount.dataset.currency ?? "", Number(amount.dataset.decimals));
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
      script.onload = () => (window.Stripe ? resolve(window.Stripe) : reject(new Error("Stripe.js defines no Stripe")));
      script.onerror = () => {
        script.remove();
        reject(new Error("Stripe.js did not load"));
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
    try {
      const response = await ask(address, "{}");
      return response.ok ? ((await response.json()).customerSessionClientSecret ?? undefined) : undefined;
    } catch {
      return undefined;
    }
  }

  /** @param {"failed" | "slow" | ""} reason */
  function showFailure(reason) {
    failure.hidden = reason === "";
    for (const paragraph of failure.querySelectorAll("p")) paragraph.hidden = paragraph.dataset.reason !== reason;
    // While it is only slow the form may still come.
    if (reason === "failed") loading.hidden = true;
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
        ? stripe.elements({ mode: "setup", ...look })
        : stripe.elements({
            mode: "payment",
            amount: price.minor,
            currency: price.currency,
            ...(customerSessionClientSecret && { customerSessionClientSecret }),
            ...look,
          });
      await mount(elements.create("payment", { layout: "tabs" }));
      showFailure("");
    } catch {
      elements = undefined;
      button.disabled = true;
      showFailure("failed");
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
      payment.on?.("loaderror", () => {
        clearTimeout(grace);
        payment.destroy?.();
        reject(new Error("The Payment Element did not load"));
      });
      payment.on?.("change", () => say(""));
      payment.mount("#payment-element");
      if (!("on" in payment)) ready();
    });
  }

  // ---- Paying ----

  /**
   * Asks our own server, with the page's own query.
   * @param {string} address
   * @param {string} body
   */
  function ask(address, body) {
    return fetch(`${address}${location.search}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body,
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE),
    });
  }

  /**
   * The order's intent, or what to tell the buyer.
   * @returns {Promise<Intent | {error: string, code: string}>}
   */
  async function createIntent() {
    let response;
    try {
      response = await ask(form.dataset.create ?? "create-payment-intent", saving ? JSON.stringify({ reference: wish }) : "{}");
      const answer = await response.json();
      if (response.ok) return answer;
      return { error: String(answer.error || text("refused")), code: String(answer.code || "") };
    } catch {
      return { error: text("no_answer"), code: "no_answer" };
    }
  }

  /**
   * The price is not what the page shows. The summary is fetched anew; what the buyer has typed stays.
   * @param {Intent} intent
   */
  async function showNewPrice(intent) {
    let page;
    try {
      const response = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (response.ok) page = new DOMParser().parseFromString(await response.text(), "text/html");
    } catch {
      // Without the new lines the page can still show the new total.
    }
    const fresh = page && totalOf(page);
    const summary = page?.getElementById("summary");
    if (fresh && summary && Number(fresh.value) === intent.amount && fresh.dataset.currency === intent.currency) {
      document.getElementById("summary")?.replaceWith(document.importNode(summary, true));
    } else if (shownPrice().currency !== intent.currency) {
      // How many decimals the new currency has only the server knows.
      return location.reload();
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
    say(text("price_changed", money(intent.amount, intent.currency, Number(decimals))), "notice");
  }

  /**
   * Stripe's redirect, done by ourselves: the intent turned out to be settled before this press.
   * @param {string} id
   * @param {string} clientSecret
   */
  function goToComplete(id, clientSecret) {
    const url = new URL(returnUrl);
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
    if (!saving) return stripe.confirmPayment({ elements, clientSecret, confirmParams: { return_url: returnUrl } });
    // Who saves a card here wants to see it again when he pays.
    const confirmParams = { return_url: returnUrl, payment_method_data: { allow_redisplay: /** @type {const} */ ("always") } };
    return stripe.confirmSetup({ elements, clientSecret, confirmParams });
  }

  /** Whether the page is about to be left, so that the button must stay as it is. */
  async function pay() {
    if (!stripe || !elements) return false;
    let invalid;
    try {
      invalid = (await elements.submit())?.error;
    } catch (error) {
      // Nothing has been asked of anybody yet: the form was not ready for it.
      console.error("The payment form could not be read:", error);
      invalid = { message: text("incomplete") };
    }
    if (invalid) {
      say(invalid.message ?? text("incomplete"));
      return false;
    }
    const intent = await createIntent();
    if ("error" in intent) {
      const settled = intent.code === "order_paid" || intent.code === "payment_processing";
      say(intent.error, settled ? "notice" : "error");
      if (settled) close();
      return false;
    }
    const shown = shownPrice();
    if (!saving && (intent.amount !== shown.minor || intent.currency !== shown.currency)) {
      await showNewPrice(intent);
      return false;
    }
    // The way back for a buyer whose bank refuses after a redirect.
    try {
      if (!saving) sessionStorage.setItem("stripe-checkout:retry", location.pathname + location.search);
    } catch {
      // Storage may be forbidden; then only the server's own link is offered.
    }
    /** @type {Result | undefined} */
    const result = await confirm(stripe, elements, intent.clientSecret);
    // From Stripe.js only a failure comes back, because whatever succeeds has left the page. Another implementation may leave the redirect to us.
    const error = result?.error;
    const settled = error?.payment_intent ?? error?.setup_intent ?? result?.paymentIntent ?? result?.setupIntent;
    if (settled && ["succeeded", "processing", "requires_capture"].includes(settled.status)) {
      goToComplete(settled.id, intent.clientSecret);
      return true;
    }
    if (!error) return true;
    // Only these sentences are meant for buyers.
    const readable = ["card_error", "validation_error"].includes(error.type) || /^(payment|setup)_intent_authentication_failure$/.test(error.code ?? "");
    const unclear = ["api_connection_error", "api_error"].includes(error.type);
    say((readable && error.message) || text(unclear ? "unclear" : "refused"));
    if (!readable && !unclear) console.error("Stripe refused the confirmation:", error.type, error.code ?? "", error.message ?? "");
    return false;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy || !stripe) return;
    setBusy(true, text("busy"));
    say("");
    let leaving = false;
    try {
      leaving = await pay();
    } catch {
      say(text("unclear"));
    }
    if (leaving) progress.textContent = text("redirecting");
    else setBusy(false);
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

  dark.addEventListener("change", () => elements?.update({ appearance: appearance() }));

  writeAmounts(document);
  start();
})();
