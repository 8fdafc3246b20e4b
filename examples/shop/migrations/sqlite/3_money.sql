-- One more state: reserved, which is authorised and not charged. A CHECK cannot be changed here, so the column gets a new one.
ALTER TABLE orders ADD COLUMN state TEXT NOT NULL DEFAULT 'pending'
    CHECK (state IN ('pending', 'processing', 'failed', 'review', 'reserved', 'paid', 'canceled', 'refunded'));
UPDATE orders SET state = status;
ALTER TABLE orders DROP COLUMN status;
ALTER TABLE orders RENAME COLUMN state TO status;

-- 1 if there is something in it that is not ready yet: its money is only reserved until it is.
ALTER TABLE orders ADD COLUMN on_order INTEGER NOT NULL DEFAULT 0;
-- Until when reserved money can be taken, once Stripe was asked.
ALTER TABLE orders ADD COLUMN capture_before INTEGER;

-- What is known of a refund, besides how it stands. What was not written down before is not known.
ALTER TABLE refunds ADD COLUMN payment_intent TEXT;
ALTER TABLE refunds ADD COLUMN reason TEXT;
ALTER TABLE refunds ADD COLUMN failure_reason TEXT;
ALTER TABLE refunds ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
UPDATE refunds SET payment_intent = (SELECT payment_intent FROM orders WHERE id = order_id);

CREATE INDEX refunds_by_payment ON refunds (payment_intent);

-- What the shop asks of Stripe that moves money, written down before it is asked: the id is the operation's own reference, so that asking twice does it once.
CREATE TABLE requests (
    id             TEXT    NOT NULL PRIMARY KEY,
    kind           TEXT    NOT NULL CHECK (kind IN ('refund', 'capture')),
    order_id       TEXT    NOT NULL REFERENCES orders (id),
    payment_intent TEXT    NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    currency       TEXT    NOT NULL,
    reason         TEXT,
    state          TEXT    NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'done', 'refused')),
    -- What came of it: the refund's id, or why it was refused.
    answer         TEXT,
    created_at     INTEGER NOT NULL
) STRICT;

CREATE INDEX requests_by_payment ON requests (payment_intent);
-- Reserved money is taken once.
CREATE UNIQUE INDEX requests_one_capture ON requests (payment_intent) WHERE kind = 'capture' AND state <> 'refused';

-- One row per dispute at Stripe; its state changes with the events that arrive.
CREATE TABLE disputes (
    id             TEXT    NOT NULL PRIMARY KEY,
    payment_intent TEXT    NOT NULL,
    order_id       TEXT,
    amount         INTEGER NOT NULL,
    currency       TEXT    NOT NULL,
    reason         TEXT,
    status         TEXT    NOT NULL,
    -- Until when evidence is taken.
    due_by         INTEGER,
    created_at     INTEGER NOT NULL
) STRICT;

CREATE INDEX disputes_by_payment ON disputes (payment_intent);

-- Every movement of money, as the shop heard of it. Rows are added in the transaction of the event that tells of them, and never changed.
CREATE TABLE ledger (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    kind           TEXT    NOT NULL,
    order_id       TEXT,
    payment_intent TEXT    NOT NULL,
    -- Of what can happen only once: the payment, the refund, the dispute.
    object         TEXT,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    currency       TEXT    NOT NULL,
    -- A decline code, the reason of a dispute, why a refund failed.
    detail         TEXT,
    created_at     INTEGER NOT NULL,
    UNIQUE (kind, object)
) STRICT;

CREATE INDEX ledger_by_time ON ledger (created_at);
CREATE INDEX ledger_by_payment ON ledger (payment_intent);

CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE ON ledger BEGIN SELECT raise(ABORT, 'the ledger is only added to'); END;
CREATE TRIGGER ledger_is_not_shortened BEFORE DELETE ON ledger BEGIN SELECT raise(ABORT, 'the ledger is only added to'); END;

-- What was paid before there was a ledger.
INSERT INTO ledger (kind, order_id, payment_intent, object, amount, currency, created_at)
SELECT 'taking', id, payment_intent, payment_intent, amount, currency,
       coalesce((SELECT min(created_at) FROM shipments WHERE order_id = orders.id), updated_at)
FROM orders WHERE status IN ('paid', 'refunded') AND payment_intent IS NOT NULL;
