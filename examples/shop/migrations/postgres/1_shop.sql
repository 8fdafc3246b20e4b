-- The same tables as SQLite's, beside this folder. Amounts are integers in minor units (cents); times are seconds since 1970, UTC.
-- A later change to the tables is a new file beside this one: what has run on somebody's database is never edited.

CREATE TABLE orders (
    id             TEXT   NOT NULL PRIMARY KEY,
    status         TEXT   NOT NULL DEFAULT 'pending'
                   CHECK (status IN ('pending', 'processing', 'failed', 'review', 'paid', 'canceled', 'refunded')),
    amount         BIGINT NOT NULL CHECK (amount > 0),
    currency       TEXT   NOT NULL,
    -- The PaymentIntent that paid the order, or is about to.
    payment_intent TEXT   UNIQUE,
    created_at     BIGINT NOT NULL DEFAULT floor(extract(epoch FROM now())),
    updated_at     BIGINT NOT NULL DEFAULT floor(extract(epoch FROM now())),
    -- In which order rows were written. SQLite's tables have it by themselves.
    rowid          BIGINT GENERATED ALWAYS AS IDENTITY
);

CREATE INDEX orders_by_time ON orders (created_at DESC, rowid DESC);

-- Name and price are copied from the catalogue when the order is made: what was ordered does not change when the catalogue does.
CREATE TABLE order_items (
    order_id    TEXT   NOT NULL REFERENCES orders (id),
    sku         TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    quantity    BIGINT NOT NULL CHECK (quantity > 0),
    unit_amount BIGINT NOT NULL CHECK (unit_amount > 0),
    rowid       BIGINT GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (order_id, sku)
);

-- On purpose nothing here is unique per order: a second shipment would be a bug, and a bug has to show, not to vanish in a constraint.
CREATE TABLE shipments (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id       TEXT   NOT NULL REFERENCES orders (id),
    payment_intent TEXT   NOT NULL,
    created_at     BIGINT NOT NULL DEFAULT floor(extract(epoch FROM now()))
);

CREATE INDEX shipments_by_order ON shipments (order_id);

-- One row per refund at Stripe; its state changes with the events that arrive.
CREATE TABLE refunds (
    id       TEXT   NOT NULL PRIMARY KEY,
    order_id TEXT   NOT NULL REFERENCES orders (id),
    amount   BIGINT NOT NULL,
    status   TEXT   NOT NULL
);

CREATE INDEX refunds_by_order ON refunds (order_id);

-- What a person has to look at: an order paid twice, an amount that does not fit, a dispute.
CREATE TABLE notices (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id       TEXT,
    payment_intent TEXT,
    kind           TEXT   NOT NULL,
    detail         TEXT   NOT NULL,
    created_at     BIGINT NOT NULL DEFAULT floor(extract(epoch FROM now())),
    UNIQUE (kind, payment_intent, detail)
);

-- What must happen once the order is paid but outside this database. The row commits with the order, so it can neither be forgotten nor sent for an
-- order that was rolled back; a task in each process works the rows off (see outbox.rs). Who has taken a row has it for himself until then.
CREATE TABLE outbox (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        TEXT   NOT NULL,
    order_id    TEXT   NOT NULL REFERENCES orders (id),
    created_at  BIGINT NOT NULL DEFAULT floor(extract(epoch FROM now())),
    taken_until BIGINT NOT NULL DEFAULT 0,
    sent_at     BIGINT
);

CREATE INDEX outbox_open ON outbox (id) WHERE sent_at IS NULL;
