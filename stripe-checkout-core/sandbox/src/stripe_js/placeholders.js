// Elements that the sandbox does not have. A labelled placeholder stands for each.

/** Elements with a placeholder, and how each is called. @type {Record<string, string>} */
const PLACEHOLDERS = {
  address: "Address Element",
  auBankAccount: "Australia Bank Account Element",
  contactDetails: "Contact Details Element",
  currencySelector: "Currency Selector Element",
  expressCheckout: "Express Checkout Element",
  issuingAddToWalletButton: "Issuing Add to Wallet Button Element",
  issuingCardCopyButton: "Issuing Card Copy Button Element",
  issuingCardCvcDisplay: "Issuing Card CVC Display Element",
  issuingCardExpiryDisplay: "Issuing Card Expiry Display Element",
  issuingCardNumberDisplay: "Issuing Card Number Display Element",
  issuingCardPinDisplay: "Issuing Card PIN Display Element",
  linkAuthentication: "Link Authentication Element",
  linkSignup: "Link Signup Element",
  paymentForm: "Payment Form Element",
  paymentMethodMessaging: "Payment Method Messaging Element",
  shippingAddress: "Shipping Address Element",
  taxId: "Tax ID Element",
  terms: "Terms Element",
  // Only the older Stripe.js has it.
  ...(RELEASE === 3 && { paymentRequestButton: "Payment Request Button Element" }),
};

const SAMPLE_ADDRESS = { line1: "510 Townsend St", line2: null, city: "San Francisco", state: "CA", postal_code: "94103", country: "US" };

/**
 * The value that a placeholder gives the page: the page's default values, completed by a sample.
 * @param {string} type
 * @param {Record<string, any>} [defaults]
 * @returns {Record<string, any> | undefined}
 */
function sampleValue(type, defaults = {}) {
  switch (type) {
    case "address":
    case "shippingAddress":
      return {
        name: defaults.name ?? "Jenny Rosen",
        // The parts of two addresses make no address.
        address: defaults.address?.line1 ? { ...SAMPLE_ADDRESS, line1: null, state: null, ...defaults.address } : { ...SAMPLE_ADDRESS },
        ...(defaults.phone && { phone: defaults.phone }),
      };
    case "linkAuthentication":
    case "contactDetails":
      return { email: defaults.email ?? "jenny@example.com" };
    case "taxId":
      return {
        businessName: defaults.businessName ?? "",
        taxId: defaults.taxId ?? "",
        taxIdType: defaults.taxIdType ?? "eu_vat",
        externalTaxIdType: defaults.taxIdType ?? "eu_vat",
      };
    default:
      return undefined;
  }
}

class Placeholder extends ElementBase {
  /**
   * @param {string} type
   * @param {Record<string, any>} options
   * @param {() => void} forget
   */
  constructor(type, options, forget) {
    super(type, forget);
    this.options = { ...options };
    this.value = sampleValue(type, options.defaultValues);
    const { address, name, email } = this.value ?? {};
    const shown = address ? [name, address.line1, address.city, address.postal_code, address.country].filter(Boolean).join(", ") : email;
    this.root.append(
      make(
        "div",
        { class: "notice placeholder", "data-placeholder": type },
        make("p", {}, make("strong", {}, PLACEHOLDERS[type] ?? type)),
        make("p", {}, shown ? "Placeholder of the sandbox. It gives the page this sample:" : "Placeholder of the sandbox, which does not have this Element."),
        ...(shown ? [make("p", {}, shown)] : []),
      ),
    );
  }

  #state() {
    return {
      ...(this.elementType === "address" && { elementMode: this.options.mode, isNewAddress: true }),
      empty: false,
      complete: true,
      value: this.value,
    };
  }

  async load() {
    // Stripe's Elements tell a value that they already have, too.
    if (this.value) setTimeout(() => this.isMounted && this.emit("change", this.#state()));
    return undefined;
  }

  /** No wallet: a page hides its button then. */
  readyDetails() {
    return this.elementType === "expressCheckout" ? { availablePaymentMethods: undefined } : {};
  }

  async getValue() {
    return this.#state();
  }

  async setView() {}
}
