// The sandbox's dashboard. It loads the state, waits for changes, and redraws only what has
// changed. The reader's position stays, and so does a button that they are about to press.

(() => {
  "use strict";

  /**
   * @typedef {{
   *   id: string, amount: string, status: string, pending: boolean, can_come_back: boolean
   * }} Refund
   * @typedef {{
   *   id: string, amount: string, status: string, reason: string, due_by: ?number
   * }} Dispute
   * @typedef {{
   *   id: string, account: ?string, created: number, amount: string, status: string,
   *   description: ?string, metadata: Record<string, string>, method: ?string,
   *   error: ?string, refunds: Refund[], dispute: ?Dispute, left: ?string, currency: string,
   *   can: {settle: boolean, dispute: boolean, decide: boolean, escalate: boolean}
   * }} Intent
   * @typedef {{
   *   id: string, account: ?string, created: number, amount: string, status: string, paid: boolean,
   *   intent: ?string, page: string
   * }} Session
   * @typedef {{
   *   endpoint: string, attempt: number, at: number, result: string, good: boolean
   * }} Attempt
   * @typedef {{
   *   id: string, type: string, account: ?string, created: number, about: ?string, stands: string,
   *   attempts: Attempt[], earlier: number
   * }} StripeEvent
   * @typedef {{
   *   copies: number, delay: number, shuffle: number, lose_deliveries: number, lose_answers: number
   * }} Webhooks
   * @typedef {{
   *   version: number, url: string, keys: {secret: string, publishable: string},
   *   next_secret: ?string, lines: [string, string][],
   *   endpoints: {
   *     url: string, secret: ?string, disabled: boolean, events: number, all: boolean
   *   }[],
   *   webhooks: Webhooks, banks_wait: boolean, on_their_way: number,
   *   count: {intents: number, sessions: number, events: number},
   *   intents: Intent[], sessions: Session[], events: StripeEvent[]
   * }} State
   */

  /** @param {string} id */
  const at = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
  /** @param {string} id */
  const field = (id) => /** @type {HTMLInputElement} */ (document.getElementById(id));
  const dialog = /** @type {HTMLDialogElement} */ (at("refund"));

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

  /** @param {number} seconds */
  function time(seconds) {
    const moment = new Date(seconds * 1000);
    const today = moment.toDateString() === new Date().toDateString();
    return make("time", { datetime: moment.toISOString() }, today ? moment.toLocaleTimeString() : moment.toLocaleString());
  }

  /**
   * The colour class of each status: good, bad, or not over yet.
   * @type {Record<string, string>}
   */
  const KINDS = {
    succeeded: "good", complete: "good", paid: "good", delivered: "good", won: "good",
    failed: "bad", "given up": "bad", needs_response: "bad", lost: "bad",
    processing: "wait", requires_action: "wait", requires_capture: "wait", pending: "wait", "on its way": "wait", under_review: "wait",
    warning_needs_response: "wait", warning_under_review: "wait",
  };
  /** @param {string} status */
  const pill = (status) => make("span", { class: `pill ${KINDS[status] ?? ""}` }, status.replaceAll("_", " "));

  /** @type {number | undefined} */
  let silence;
  /** @param {string} text */
  function say(text) {
    at("said").textContent = text;
    clearTimeout(silence);
    silence = setTimeout(() => (at("said").textContent = ""), 6000);
  }

  /**
   * Asks the sandbox to do something. Returns an error message, or an empty text if it worked.
   * @param {Record<string, unknown>} action
   * @returns {Promise<string>}
   */
  async function act(action) {
    let answer;
    try {
      const response = await fetch("/sandbox/do", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(action) });
      answer = await response.json();
    } catch {
      answer = { error: { message: "The sandbox cannot be reached." } };
    }
    if (answer.error) return answer.error.message;
    say(answer.said);
    return "";
  }

  /**
   * Makes a button. Its key finds the button again after its item is redrawn.
   * @param {string} label @param {string} key @param {Record<string, unknown> | (() => void)} does
   */
  function button(label, key, does) {
    const made = make("button", { type: "button", "data-key": key }, label);
    made.addEventListener("click", async () => {
      if (typeof does === "function") return does();
      // Not really disabled: that would take the focus away from keyboard users.
      if (made.ariaDisabled) return;
      made.ariaDisabled = "true";
      const wrong = await act(does);
      made.ariaDisabled = null;
      if (wrong) say(wrong);
    });
    return made;
  }

  /** @param {string} label @param {Node[]} buttons */
  const group = (label, ...buttons) => make("div", { class: "actions", role: "group", "aria-label": label }, ...buttons);

  /** @param {string} name @param {string} text */
  function paste(name, text) {
    const copy = button("Copy", `copy ${name}`, async () => {
      await navigator.clipboard.writeText(text);
      say("Copied.");
    });
    copy.setAttribute("aria-label", `Copy: ${name}`);
    return make("div", { class: "paste" }, make("code", {}, text), copy);
  }

  /**
   * The items that each list shows: the data that an item was drawn from, and its element.
   * @type {Map<string, Map<string, {from: string, element: HTMLElement}>>}
   */
  const drawn = new Map();

  /**
   * Puts the focus back where it was, or near it.
   * @param {HTMLElement} made @param {string} key
   */
  function refocus(made, key) {
    /** @type {?HTMLElement} */
    const same = made.querySelector(`[data-key="${CSS.escape(key)}"]`);
    /** @type {?HTMLElement} */
    const near = made.querySelector("button, summary, a");
    (same ?? near)?.focus();
  }

  /**
   * Updates a list to these items. An unchanged item keeps its element. In a changed item an open
   * detail stays open, and the focus stays where it was.
   * @template {{id: string}} T
   * @param {string} list @param {T[]} items @param {(item: T) => HTMLElement} draw
   */
  function show(list, items, draw) {
    const before = drawn.get(list);
    const now = new Map();
    const place = at(list);
    let next = place.firstElementChild;
    for (const item of items) {
      const from = JSON.stringify(item);
      const old = before?.get(item.id);
      let element = old?.element;
      if (!element || old?.from !== from) {
        const made = draw(item);
        if (element) {
          const focused = element.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement).dataset.key : undefined;
          if (next === element) next = made;
          element.replaceWith(made);
          if (focused) refocus(made, focused);
        } else if (before) made.classList.add("new");
        element = made;
      }
      now.set(item.id, { from, element });
      if (element === next) next = element.nextElementSibling;
      else place.insertBefore(element, next);
    }
    while (next) {
      const gone = next;
      next = next.nextElementSibling;
      gone.remove();
    }
    drawn.set(list, now);
  }

  /** @param {(string | null | undefined | false)[]} words */
  function about(...words) {
    const shown = words.filter((word) => typeof word === "string" && word !== "").map((word) => make("span", {}, String(word)));
    return make("p", { class: "about" }, ...shown);
  }

  /** @param {Intent} intent */
  function drawIntent(intent) {
    const buttons = [];
    /** @param {string} label @param {Record<string, unknown>} action */
    const add = (label, action) => buttons.push(button(label, label, { ...action, intent: intent.id }));
    if (intent.can.settle) {
      add("Settle", { do: "settle", paid: true });
      add("Fail", { do: "settle", paid: false });
    }
    if (intent.left) buttons.push(button("Refund …", "refund", () => askRefund(intent)));
    if (intent.can.dispute) {
      add("Dispute", { do: "dispute", inquiry: false });
      add("Inquire", { do: "dispute", inquiry: true });
    }
    const card = make("li", {}, make("div", { class: "top" }, make("h3", {}, intent.amount), pill(intent.status), time(intent.created)));
    card.append(about(intent.id, intent.method, intent.description, intent.account && `account ${intent.account}`));
    const metadata = Object.entries(intent.metadata).map(([name, value]) => `${name}: ${value}`);
    if (metadata.length) card.append(about(...metadata));
    if (intent.error && intent.status !== "succeeded") card.append(make("p", { class: "error" }, intent.error));
    card.append(group(`Payment of ${intent.amount}, ${intent.id}`, ...buttons));
    for (const refund of intent.refunds) {
      const then = [];
      if (refund.pending) then.push(button("Arrives", `${refund.id} arrives`, { do: "settle_refund", refund: refund.id, arrives: true }));
      if (refund.can_come_back) then.push(button("Comes back", `${refund.id} comes back`, { do: "settle_refund", refund: refund.id, arrives: false }));
      card.append(make("div", { class: "then" }, make("span", {}, `Refund of ${refund.amount}`), pill(refund.status), group(`Refund of ${refund.amount}, ${refund.id}`, ...then)));
    }
    const dispute = intent.dispute;
    if (dispute) {
      /** @type {Node[]} */
      const then = [];
      /** @param {string} label @param {string} decision */
      const decide = (label, decision) => then.push(button(label, label, { do: "decide", intent: intent.id, decision }));
      if (intent.can.escalate) {
        decide("Escalate", "escalated");
        decide("Close", "won");
      } else if (intent.can.decide) {
        decide("Win", "won");
        decide("Lose", "lost");
      }
      const due = dispute.due_by ? `, evidence until ${new Date(dispute.due_by * 1000).toLocaleDateString()}` : "";
      card.append(make("div", { class: "then" }, make("span", {}, `${dispute.status.startsWith("warning") ? "Inquiry" : "Dispute"} about ${dispute.amount}${due}`), pill(dispute.status), group(`Dispute ${dispute.id}`, ...then)));
    }
    return card;
  }

  /** @param {Session} session */
  function drawSession(session) {
    const card = make("li", {}, make("div", { class: "top" }, make("h3", {}, session.amount), pill(session.paid ? "paid" : session.status), time(session.created)));
    card.append(about(session.id, session.intent, session.account && `account ${session.account}`));
    if (session.status === "open") {
      card.append(make("p", {}, make("a", { href: session.page, target: "_blank", rel: "noopener noreferrer", "data-key": "page" }, "Open its page")));
    }
    return card;
  }

  /**
   * The open events, with their JSON once it was loaded: an event never changes.
   * @type {Map<string, string>}
   */
  const opened = new Map();

  /** @param {StripeEvent} event */
  function drawEvent(event) {
    const summary = make("summary", { "data-key": "summary" }, make("span", { class: "mono" }, event.type), pill(event.stands), time(event.created));
    const inside = make("div", { class: "inside" });
    const details = make("details", {}, summary, inside);
    const json = make("pre", { tabindex: "0", "aria-label": `The event ${event.id}`, "data-key": "json" });
    inside.append(about(event.id, event.about, event.account && `account ${event.account}`));
    if (event.earlier) inside.append(about(`${event.earlier} earlier attempts are not shown`));
    const attempts = event.attempts.map((attempt) =>
      make("li", {}, make("span", { class: attempt.good ? "" : "error" }, `${attempt.good ? "✓" : "✕"} ${attempt.result}`), make("span", { class: "hint" }, `attempt ${attempt.attempt}, ${attempt.endpoint}`), time(attempt.at)),
    );
    if (attempts.length) inside.append(make("ul", { class: "attempts", "aria-label": "Attempts" }, ...attempts));
    inside.append(
      group(
        `Event ${event.type}, ${event.id}`,
        button("Deliver again", "again", { do: "redeliver", event: event.id, times: 1 }),
        button("Twice at once", "twice", { do: "redeliver", event: event.id, times: 2 }),
      ),
      json,
    );
    const known = opened.get(event.id);
    if (known !== undefined) {
      details.open = true;
      json.textContent = known;
    }
    details.addEventListener("toggle", async () => {
      if (!details.open) {
        opened.delete(event.id);
        return;
      }
      if (!opened.has(event.id)) {
        opened.set(event.id, "");
        try {
          const response = await fetch(`/sandbox/event/${event.id}`);
          if (opened.has(event.id)) opened.set(event.id, response.ok ? await response.text() : "The sandbox no longer knows it.");
        } catch {
          opened.delete(event.id);
        }
        // The event may have been redrawn meanwhile.
        const now = drawn.get("events")?.get(event.id)?.element.querySelector("pre");
        if (now) now.textContent = opened.get(event.id) ?? "The sandbox cannot be reached.";
      }
    });
    return make("li", {}, details);
  }

  /**
   * The payment that is being refunded.
   * @type {Intent | undefined}
   */
  let refunding;

  /** @param {Intent} intent */
  function askRefund(intent) {
    refunding = intent;
    at("refund-currency").textContent = intent.currency;
    field("amount").value = intent.left ?? "";
    at("refund-error").textContent = "";
    field("amount").removeAttribute("aria-invalid");
    dialog.showModal();
    field("amount").select();
  }

  at("refund-cancel").addEventListener("click", () => dialog.close());
  at("refund-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!refunding) return;
    const amount = field("amount").value.trim().replace(",", ".");
    const wrong = await act({ do: "refund", intent: refunding.id, ...(amount && { amount }) });
    at("refund-error").textContent = wrong;
    field("amount").toggleAttribute("aria-invalid", wrong !== "");
    if (wrong) field("amount").focus();
    else dialog.close();
  });

  at("listen").addEventListener("submit", async (event) => {
    event.preventDefault();
    const wrong = await act({ do: "listen", url: field("url").value.trim() });
    if (wrong) {
      say(wrong);
      field("url").focus();
    } else field("url").value = "";
  });

  /**
   * The factor from the shown value of each switch to the sent one: waits are shown in seconds and
   * sent in milliseconds.
   * @type {Record<keyof Webhooks, number>}
   */
  const SWITCHES = { copies: 1, delay: 1000, shuffle: 1000, lose_deliveries: 1, lose_answers: 1 };
  for (const [name, unit] of Object.entries(SWITCHES)) {
    field(name).addEventListener("change", async () => {
      const value = Math.round(field(name).valueAsNumber * unit);
      const wrong = value >= 0 ? await act({ do: "webhooks", [name]: value }) : "Please type a number that is not below zero.";
      if (wrong) say(wrong);
    });
  }
  field("banks").addEventListener("change", async () => {
    const wrong = await act({ do: "banks", wait: field("banks").checked });
    if (wrong) say(wrong);
  });
  // Pressing Enter in a number field sets that number, through the field's own change event.
  at("travel").addEventListener("submit", (event) => event.preventDefault());
  at("usual").addEventListener("click", async () => {
    const usual = Object.fromEntries(Object.keys(SWITCHES).map((name) => [name, 0]));
    const wrong = (await act({ do: "webhooks", ...usual })) || (field("banks").checked ? await act({ do: "banks", wait: false }) : "");
    say(wrong || "Everything is as usual.");
  });

  /** @type {string} */
  let connected = "";

  /** @param {State} state */
  function showConnection(state) {
    const { url, keys, next_secret, endpoints, lines } = state;
    const from = JSON.stringify([url, keys, next_secret, endpoints, lines]);
    if (from === connected) return;
    connected = from;
    /** @type {[string, string][]} */
    const rows = [["Address", url], ["Secret key", keys.secret], ["Publishable key", keys.publishable]];
    for (const endpoint of endpoints) if (endpoint.secret) rows.push([`Secret of ${endpoint.url}`, endpoint.secret]);
    if (next_secret) rows.push(["Secret of the first webhook endpoint", next_secret]);
    at("keys").replaceChildren(...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, paste(name, value)))));
    at("lines").replaceChildren(...lines.flatMap(([whom, line]) => [make("h3", {}, whom), paste(whom, line)]));
    const listed = endpoints.map((endpoint) => {
      const what = endpoint.disabled ? "disabled" : endpoint.all ? "every event" : `${endpoint.events} types of events`;
      return make("li", {}, make("span", { class: "mono" }, endpoint.url), make("small", {}, what));
    });
    at("endpoints").replaceChildren(...(listed.length ? listed : [make("li", { class: "empty" }, "Events go nowhere yet.")]));
  }

  let first = true;

  /** @param {State} state */
  function showState(state) {
    if (first) {
      first = false;
      /** @type {HTMLDetailsElement} */ (at("start")).open = state.intents.length === 0;
    }
    showConnection(state);
    show("intents", state.intents, drawIntent);
    show("sessions", state.sessions, drawSession);
    show("events", state.events, drawEvent);
    at("no-intents").hidden = state.intents.length > 0;
    at("no-events").hidden = state.events.length > 0;
    at("sessions-box").hidden = state.sessions.length === 0;
    for (const [id, shown, all] of /** @type {[string, number, number][]} */ ([
      ["intent-count", state.intents.length, state.count.intents],
      ["session-count", state.sessions.length, state.count.sessions],
      ["event-count", state.events.length, state.count.events],
    ])) {
      at(id).textContent = all > shown ? `the newest ${shown} of ${all}` : all > 0 ? String(all) : "";
    }
    for (const [name, unit] of Object.entries(SWITCHES)) {
      const value = state.webhooks[/** @type {keyof Webhooks} */ (name)];
      // Do not overwrite a field while the user is typing in it.
      if (document.activeElement !== field(name) || field(name).valueAsNumber * unit === value) field(name).value = String(value / unit);
      field(name).parentElement?.classList.toggle("set", value > 0);
    }
    field("banks").checked = state.banks_wait;
    at("unusual").textContent = state.on_their_way ? `${state.on_their_way} on their way` : "";
  }

  /** @param {number} milliseconds */
  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

  async function watch() {
    let after = "";
    for (;;) {
      try {
        const response = await fetch(`/sandbox/state${after}`);
        if (!response.ok) throw new Error(String(response.status));
        const state = /** @type {State} */ (await response.json());
        showState(state);
        after = `?after=${state.version}`;
        if (at("connection").className !== "live") {
          at("connection").className = "live";
          at("connection").textContent = `Live, ${state.url}`;
        }
        // Show several changes that happen at once in one update.
        await pause(150);
      } catch {
        // The sandbox may have restarted, and then knows nothing of the earlier versions.
        after = "";
        at("connection").className = "lost";
        at("connection").textContent = "The sandbox cannot be reached. Trying again …";
        await pause(1000);
      }
    }
  }
  watch();
})();
