// The part that every Element has: mounting, events, and its end.

class ElementBase {
  /** @type {Map<string, Set<(event: any) => void>>} */
  #handlers = new Map();
  #destroyed = false;
  #ready = false;
  /** @type {Element | undefined} */
  #container;
  root = make("div", { class: "StripeSandbox" });

  /**
   * @param {string} elementType
   * @param {() => void} forget lets go of the Element when it is destroyed
   */
  constructor(elementType, forget) {
    this.elementType = elementType;
    this.forget = forget;
    this.root.addEventListener("focusin", (event) => this.#crossed(event) && this.emit("focus"));
    this.root.addEventListener("focusout", (event) => this.#crossed(event) && this.emit("blur"));
    this.root.addEventListener("keydown", (event) => event.key === "Escape" && this.emit("escape"));
  }

  /** Whether the focus came from outside, or goes there. @param {FocusEvent} event */
  #crossed(event) {
    return !(event.relatedTarget instanceof Node && this.root.contains(event.relatedTarget));
  }

  /**
   * Loads everything that the Element needs before it is ready.
   * @returns {Promise<StripeError | undefined>}
   */
  async load() {
    return undefined;
  }

  /** Further fields of the event `ready`. @returns {object} */
  readyDetails() {
    return {};
  }

  get container() {
    return this.#container;
  }

  /** @param {string | HTMLElement} where */
  mount(where) {
    if (this.#destroyed) throw new IntegrationError("This Element has already been destroyed. Please create a new one.");
    const container = typeof where === "string" ? document.querySelector(where) : where;
    if (!(container instanceof Element)) {
      if (typeof where !== "string") throw new IntegrationError("Invalid DOM element. Make sure to call mount() with a valid DOM element or selector.");
      throw new IntegrationError(
        `The selector you specified (${where}) applies to no DOM elements that are currently on the page.\nMake sure the element exists on the page before calling mount().`,
      );
    }
    if (this.#container && this.root.isConnected) {
      if (this.#container === container) return;
      throw new IntegrationError("This Element is already mounted. Use `unmount()` to unmount the Element before re-mounting.");
    }
    this.#container = container;
    container.replaceChildren(this.root);
    container.classList.add("StripeElement");
    this.mounted(container);
    queueMicrotask(() => this.emit("loaderstart"));
    setTimeout(async () => {
      const error = await this.load();
      if (this.#destroyed || !this.root.isConnected) return;
      if (error) {
        this.emit("loaderror", { error });
        return;
      }
      this.#ready = true;
      this.emit("ready", this.readyDetails());
    });
  }

  /** @param {Element} _container */
  mounted(_container) {}

  get isMounted() {
    return this.#ready && this.root.isConnected;
  }

  unmount() {
    this.#container?.classList.remove("StripeElement");
    this.#container = undefined;
    this.#ready = false;
    this.root.remove();
  }

  destroy() {
    if (this.#destroyed) throw new IntegrationError("This Element has already been destroyed. Please create a new one.");
    this.unmount();
    this.#destroyed = true;
    this.forget();
  }

  clear() {}

  focus() {
    /** @type {HTMLElement | null} */ (this.root.querySelector("input, button"))?.focus();
  }

  blur() {
    if (document.activeElement instanceof HTMLElement && this.root.contains(document.activeElement)) document.activeElement.blur();
  }

  /** @param {Record<string, any>} options */
  update(options) {
    warnOfUnknown("update", options, OPTIONS[this.elementType]);
    return this;
  }

  /** @param {string} type @param {object} [details] */
  emit(type, details = {}) {
    for (const handler of [...(this.#handlers.get(type) ?? [])]) handler({ elementType: this.elementType, ...details });
  }

  /** @param {string} type @param {(event: any) => void} handler */
  on(type, handler) {
    if (typeof handler !== "function") throw new IntegrationError("You must provide a function as an event handler.");
    this.#handlers.set(type, (this.#handlers.get(type) ?? new Set()).add(handler));
    return this;
  }

  /** @param {string} type @param {(event: any) => void} handler */
  once(type, handler) {
    const once = (/** @type {any} */ event) => {
      this.off(type, once);
      handler(event);
    };
    return this.on(type, once);
  }

  /** @param {string} type @param {(event: any) => void} [handler] */
  off(type, handler) {
    if (handler) this.#handlers.get(type)?.delete(handler);
    else this.#handlers.delete(type);
    return this;
  }
}
