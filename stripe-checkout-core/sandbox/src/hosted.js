// The page of a Checkout Session. It shows the items and the total and lets the buyer change what
// they may change. It pays with the card form of the stand-in for Stripe.js.

(() => {
  "use strict";

  /**
   * @typedef {{
   *   status: string, paid: boolean, currency: string, decimals: number, subtotal: number,
   *   discount: number, shipping: number, tax: number, taxed: boolean, total: number,
   *   items: {
   *     name: string, description: ?string, quantity: number, amount: number, unit: number
   *   }[],
   *   shipping_options: {name: string, amount: number}[], shipping_chosen: ?number,
   *   codes: boolean, email: ?string, countries: string[], phone: boolean, cancel_url: ?string,
   *   after: ?string, embedded: boolean, redirect: string, last_error: ?string
   * }} State
   */

  const base = location.pathname.replace(/\/$/, "");
  /** @param {string} id */
  const at = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
  /** @param {string} id */
  const field = (id) => /** @type {HTMLInputElement} */ (document.getElementById(id));

  /**
   * @template {keyof HTMLElementTagNameMap} K
   * @param {K} tag
   * @param {Record<string, string>} [attributes]
   * @param {(Node | string)[]} children
   */
  function make(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  /** @type {State} */
  let state;
  /** @type {any} */
  let elements;

  /**
   * Formats an amount for its currency. The digits stay text and never become a float.
   * @param {number} minor
   */
  function money(minor) {
    const digits = String(minor).padStart(state.decimals + 1, "0");
    const whole = digits.slice(0, digits.length - state.decimals);
    const exact = state.decimals === 0 ? whole : `${whole}.${digits.slice(-state.decimals)}`;
    const format = new Intl.NumberFormat(undefined, { style: "currency", currency: state.currency, minimumFractionDigits: state.decimals });
    return format.format(/** @type {Intl.StringNumericLiteral} */ (exact));
  }

  /**
   * @param {string} path
   * @param {Record<string, string>} [form]
   */
  async function ask(path, form) {
    try {
      const response = await fetch(`${base}/${path}`, form ? { method: "POST", body: new URLSearchParams(form) } : { cache: "no-store" });
      return await response.json();
    } catch {
      return { error: { message: "The sandbox cannot be reached. Please try again." } };
    }
  }

  /** @param {object} message */
  function tell(message) {
    if (parent !== window) parent.postMessage({ sandboxCheckout: base.split("/").pop(), ...message }, "*");
  }

  /** @param {string} title @param {string} text */
  function over(title, text) {
    at("pay-form").hidden = true;
    at("code-form").hidden = true;
    at("over").hidden = false;
    at("over").replaceChildren(make("h2", {}, title), make("p", {}, text));
  }

  function show() {
    document.documentElement.classList.toggle("embedded", state.embedded && parent !== window);
    document.title = `Pay ${money(state.total)} – sandbox`;
    at("headline").textContent = money(state.total);
    at("items").replaceChildren(
      ...state.items.map((item) => {
        const name = make("span", { class: "name" }, item.name);
        if (item.description) name.append(make("small", {}, item.description));
        if (item.quantity !== 1) name.append(make("small", {}, `${item.quantity} × ${money(item.unit)}`));
        return make("li", {}, name, make("data", { class: "money" }, money(item.amount)));
      }),
    );
    /** @param {string} label @param {string} amount @param {string} [kind] */
    const line = (label, amount, kind) => make("div", kind ? { class: kind } : {}, make("dt", {}, label), make("dd", { class: "money" }, amount));
    const lines = [line("Subtotal", money(state.subtotal))];
    if (state.discount) lines.push(line("Discount", `−${money(state.discount)}`, "off"));
    if (state.shipping_options.length) lines.push(line("Shipping", money(state.shipping)));
    if (state.taxed) lines.push(line("Tax (10 %, the sandbox’s own)", money(state.tax)));
    lines.push(line("Total due", money(state.total), "sum"));
    at("totals").replaceChildren(...lines);

    const back = /** @type {HTMLAnchorElement} */ (at("back"));
    back.hidden = !state.cancel_url;
    if (state.cancel_url) back.href = state.cancel_url;
    at("code-form").hidden = !state.codes;
    at("method").hidden = state.total === 0;
    const pay = at("pay").firstElementChild;
    if (pay) pay.textContent = state.total === 0 ? "Complete order" : `Pay ${money(state.total)}`;
    if (state.status === "open") {
      elements?.update({ amount: Math.max(state.total, 1) });
      return;
    }
    if (state.status === "expired") return over("This page has expired", "Nobody can pay here any more. Please go back to the shop.");
    // No payment method of the sandbox redirects the buyer, so `if_required` works like `never`.
    if (state.after && state.redirect === "always") {
      over("Thank you", "You are taken back to the shop.");
      if (state.embedded && parent !== window) tell({ go: state.after });
      else location.replace(state.after);
      return;
    }
    over("Thank you", "Your order is complete. You can close this page.");
    tell({ complete: true });
  }

  /** Fills in the parts that do not change, and mounts the card form. */
  function begin() {
    if (state.email) {
      field("email").value = state.email;
      field("email").readOnly = true;
    }
    at("phone-box").hidden = !state.phone;
    at("address").hidden = state.countries.length === 0;
    const names = new Intl.DisplayNames(undefined, { type: "region" });
    at("country").append(...state.countries.map((code) => make("option", { value: code }, names.of(code) ?? code)));
    at("shipping").hidden = state.shipping_options.length === 0;
    state.shipping_options.forEach((option, index) => {
      const radio = make("input", { type: "radio", name: "way", value: String(index), ...(index === state.shipping_chosen && { checked: "" }) });
      radio.addEventListener("change", async () => take(await ask("shipping", { shipping: String(index) }), "error"));
      at("shipping").append(make("label", { class: "way" }, radio, make("span", {}, option.name), make("data", { class: "money" }, money(option.amount))));
    });
    if (state.status === "open") {
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      elements = /** @type {any} */ (window).Stripe("pk_test_sandbox").elements({
        mode: "payment",
        amount: Math.max(state.total, 1),
        currency: state.currency,
        appearance: { theme: dark ? "night" : "stripe", variables: { borderRadius: "8px", ...(dark && { colorBackground: "#15171f", colorPrimary: "#a79dff" }) } },
      });
      elements.create("payment").mount("#card");
    }
    at("error").textContent = state.last_error ?? "";
  }

  /**
   * Shows the answer: the state of the session, or the error.
   * @param {any} answer
   * @param {string} place
   */
  function take(answer, place) {
    at(place).textContent = answer.error?.message ?? "";
    if (answer.error) return false;
    state = answer;
    show();
    return true;
  }

  at("code-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    take(await ask("code", { code: field("code").value }), "code-error");
  });
  for (const button of document.querySelectorAll("[data-code]")) {
    button.addEventListener("click", async () => {
      field("code").value = button.getAttribute("data-code") ?? "";
      take(await ask("code", { code: field("code").value }), "code-error");
    });
  }

  at("pay-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = /** @type {HTMLButtonElement} */ (at("pay"));
    at("error").textContent = "";
    for (const input of document.querySelectorAll("#pay-form [name]")) input.removeAttribute("aria-invalid");
    /** @type {Record<string, string>} */
    const form = {};
    for (const [name, value] of new FormData(/** @type {HTMLFormElement} */ (at("pay-form")))) if (typeof value === "string" && name !== "way") form[name] = value;
    if (!field("email").checkValidity()) {
      field("email").setAttribute("aria-invalid", "true");
      field("email").focus();
      at("error").textContent = "Please enter your e-mail address.";
      return;
    }
    if (state.total > 0) {
      const { error } = await elements.submit();
      if (error) return;
      Object.assign(form, elements.getElement("payment").params());
    }
    button.disabled = true;
    const answer = await ask("pay", form);
    if (answer.action) return location.assign(answer.action);
    button.disabled = false;
    if (take(answer, "error")) return;
    const wrong = document.querySelector(`#pay-form [name="${CSS.escape(answer.error.param ?? "")}"]`);
    wrong?.setAttribute("aria-invalid", "true");
    if (wrong instanceof HTMLElement) wrong.focus();
    // Another tab or the merchant may have ended the session meanwhile.
    const now = await ask("state");
    if (!now.error && now.status !== "open") take(now, "error");
  });

  async function start() {
    const answer = await ask("state");
    at("page").setAttribute("aria-busy", "false");
    if (answer.error) return over("There is no such page", answer.error.message);
    state = answer;
    // The page does not need the parameters that Stripe's redirect from the bank adds.
    if (location.search) history.replaceState(null, "", base);
    begin();
    show();
    new ResizeObserver(() => tell({ height: Math.ceil(document.body.getBoundingClientRect().height) })).observe(document.body);
  }
  start();
})();
