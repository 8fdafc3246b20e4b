// Embedded Checkout.

class EmbeddedCheckout {
  /** Stripe.js has one at a time. */
  static current = false;
  #frame;
  #destroyed = false;
  /** @param {MessageEvent} event */
  #heard = (event) => {
    if (event.origin !== api || event.source !== this.#frame.contentWindow || event.data?.sandboxCheckout !== this.secret) return;
    const { height, go, complete } = event.data;
    if (typeof height === "number") this.#frame.height = String(height);
    if (typeof go === "string" && /^https?:/.test(go)) location.assign(go);
    if (complete) this.onComplete?.();
  };

  /** @param {string} secret @param {(() => void) | undefined} onComplete */
  constructor(secret, onComplete) {
    this.secret = secret;
    this.onComplete = onComplete;
    this.#frame = make("iframe", { src: `${api}/sandbox/checkout/${secret}`, title: "Checkout (sandbox)", width: "100%", height: "900", frameborder: "0" });
  }

  /** @param {string | HTMLElement} where */
  mount(where) {
    if (this.#destroyed) throw new IntegrationError("This embedded Checkout has been destroyed. Please create a new one.");
    const container = typeof where === "string" ? document.querySelector(where) : where;
    if (!container) throw new IntegrationError(`The selector you specified (${where}) applies to no DOM elements that are currently on the page.`);
    window.addEventListener("message", this.#heard);
    container.replaceChildren(this.#frame);
  }

  unmount() {
    window.removeEventListener("message", this.#heard);
    this.#frame.remove();
  }

  destroy() {
    this.unmount();
    if (!this.#destroyed) EmbeddedCheckout.current = false;
    this.#destroyed = true;
  }
}
