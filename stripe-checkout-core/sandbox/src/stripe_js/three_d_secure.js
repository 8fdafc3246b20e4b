// 3-D Secure, in a dialog.

/**
 * Stands for the page of the buyer's bank. A buyer who closes it refuses.
 * @param {Intent} intent
 * @param {Appearance | undefined} appearance
 * @returns {Promise<"succeed" | "fail">}
 */
function askForAuthentication(intent, appearance) {
  return new Promise((resolve) => {
    const yes = make("button", { type: "button", id: "test-source-authorize-3ds", class: "yes" }, "Complete authentication");
    const no = make("button", { type: "button", id: "test-source-fail-3ds" }, "Fail authentication");
    const dialog = make(
      "dialog",
      { class: "StripeSandbox-dialog", "aria-labelledby": "sandbox-3ds-title", "aria-describedby": "sandbox-3ds-text" },
      make("h2", { id: "sandbox-3ds-title" }, "3-D Secure, in a sandbox"),
      make("p", { id: "sandbox-3ds-text" }, "Here the buyer’s bank would ask for a code or a confirmation in its application. What should it answer?"),
      make("p", { class: "muted" }, "amount" in intent ? `${intent.id}: ${intent.amount} ${intent.currency.toUpperCase()} in minor units` : `${intent.id}: the card is only saved`),
      make("div", { class: "choice" }, yes, no),
    );
    applyAppearance(dialog, appearance);
    /** @type {"succeed" | "fail"} */
    let outcome = "fail";
    yes.addEventListener("click", () => {
      outcome = "succeed";
      dialog.close();
    });
    no.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(outcome);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
