-- What stripe-checkout remembers. Times are microseconds since 1970; amounts are minor units; `account` is a connected account.

CREATE TABLE IF NOT EXISTS stripe_checkout_migrations (
    version INTEGER PRIMARY KEY
) STRICT;

-- Every event that came, in the order of `seq`. Never the same number again, so that what a payment's row holds already can be told by it.
CREATE TABLE IF NOT EXISTS stripe_checkout_events (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    application     TEXT    NOT NULL,
    mode            TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    type            TEXT    NOT NULL,
    payment         TEXT,
    account         TEXT,
    order_reference TEXT,
    ours            INTEGER NOT NULL,
    settles         INTEGER NOT NULL,
    note            TEXT,
    body            BLOB    NOT NULL,
    received        INTEGER NOT NULL,
    state           TEXT    NOT NULL,
    attempts        INTEGER NOT NULL,
    due             INTEGER NOT NULL,
    -- Rises each time somebody takes the event: who finds another number has lost it.
    claim           INTEGER NOT NULL,
    -- Whether somebody has it now, or died with it.
    taken           INTEGER NOT NULL,
    last_error      TEXT,
    UNIQUE (application, mode, id)
) STRICT;

CREATE INDEX IF NOT EXISTS stripe_checkout_events_due ON stripe_checkout_events (application, mode, due, seq) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS stripe_checkout_events_of_payment ON stripe_checkout_events (application, mode, payment) WHERE payment IS NOT NULL;
CREATE INDEX IF NOT EXISTS stripe_checkout_events_received ON stripe_checkout_events (application, mode, received, id);
CREATE INDEX IF NOT EXISTS stripe_checkout_events_state ON stripe_checkout_events (application, mode, state, received, id);

CREATE TABLE IF NOT EXISTS stripe_checkout_payments (
    application    TEXT    NOT NULL,
    mode           TEXT    NOT NULL,
    id             TEXT    NOT NULL,
    success        TEXT    NOT NULL,
    capturable     INTEGER NOT NULL,
    canceled       INTEGER NOT NULL,
    refunds        TEXT    NOT NULL,
    refunded_total INTEGER NOT NULL,
    received       INTEGER NOT NULL DEFAULT 0,
    released       INTEGER NOT NULL DEFAULT 0,
    disputes       TEXT    NOT NULL,
    -- What the hooks were told of its refunds and disputes.
    told           TEXT    NOT NULL DEFAULT '{}',
    -- The `seq` of the last event whose note is in this row.
    noted          INTEGER NOT NULL,
    PRIMARY KEY (application, mode, id)
) STRICT, WITHOUT ROWID;

-- Orders that were paid twice, until something of it is refunded.
CREATE INDEX IF NOT EXISTS stripe_checkout_payments_duplicate ON stripe_checkout_payments (application, mode) WHERE success = 'duplicate';

CREATE TABLE IF NOT EXISTS stripe_checkout_intents (
    application TEXT    NOT NULL,
    mode        TEXT    NOT NULL,
    account     TEXT,
    reference   TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    fingerprint TEXT    NOT NULL,
    amount      INTEGER NOT NULL,
    currency    TEXT    NOT NULL,
    -- The amount that our own capture brings the payment to, in the same currency.
    capture     INTEGER,
    payment     TEXT,
    secret_hash TEXT,
    -- Whether Stripe has the parameters of the fingerprint.
    request     TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    paid_by     TEXT,
    declines    INTEGER NOT NULL DEFAULT 0,
    -- When the row was written.
    changed     INTEGER NOT NULL,
    UNIQUE (application, mode, reference, account)
) STRICT;

-- To a unique key each NULL is another one.
CREATE UNIQUE INDEX IF NOT EXISTS stripe_checkout_intents_without_account ON stripe_checkout_intents (application, mode, reference) WHERE account IS NULL;

-- Orders that may still be paid, in the order in which they are looked up at Stripe.
CREATE INDEX IF NOT EXISTS stripe_checkout_intents_open ON stripe_checkout_intents (application, mode, coalesce(account, ''), reference)
    WHERE state IN ('creating', 'open', 'processing');

-- The connected accounts whose lists of events are read.
CREATE INDEX IF NOT EXISTS stripe_checkout_intents_accounts ON stripe_checkout_intents (application, mode, account, changed)
    WHERE account IS NOT NULL;

-- Which order a PaymentIntent belongs to: its present one, an earlier one, or one of which an event said so.
CREATE TABLE IF NOT EXISTS stripe_checkout_orders_of_payments (
    application TEXT NOT NULL,
    mode        TEXT NOT NULL,
    payment     TEXT NOT NULL,
    account     TEXT,
    reference   TEXT NOT NULL,
    PRIMARY KEY (application, mode, payment)
) STRICT, WITHOUT ROWID;

-- What was asked of Stripe under a reference of the merchant's own, kept for good. '' is the account of the keys themselves.
CREATE TABLE IF NOT EXISTS stripe_checkout_operations (
    application TEXT    NOT NULL,
    mode        TEXT    NOT NULL,
    account     TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    reference   TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    fingerprint TEXT    NOT NULL,
    subject     TEXT,
    amount      INTEGER,
    currency    TEXT,
    state       TEXT    NOT NULL,
    result      TEXT,
    -- When this attempt began.
    begun       INTEGER NOT NULL,
    PRIMARY KEY (application, mode, account, kind, reference)
) STRICT, WITHOUT ROWID;

-- How far something was read.
CREATE TABLE IF NOT EXISTS stripe_checkout_bookmarks (
    application TEXT NOT NULL,
    mode        TEXT NOT NULL,
    name        TEXT NOT NULL,
    value       TEXT NOT NULL,
    PRIMARY KEY (application, mode, name)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO stripe_checkout_migrations (version) VALUES (1);
