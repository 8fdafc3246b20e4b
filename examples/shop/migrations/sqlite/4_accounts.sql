-- Buyers who have an account; guests have none. The address is in lower case, and the password is a hash that says itself how it was made (PHC string).
CREATE TABLE accounts (
    id         TEXT    NOT NULL PRIMARY KEY,
    email      TEXT    NOT NULL UNIQUE,
    password   TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Which browser is whose, whichever process let it in. The id is a hash of the cookie.
CREATE TABLE account_sessions (
    id         TEXT    NOT NULL PRIMARY KEY,
    account_id TEXT    NOT NULL REFERENCES accounts (id),
    csrf       TEXT    NOT NULL,
    ends_at    INTEGER NOT NULL
) STRICT;

-- Whose order it is, if its buyer was logged in.
ALTER TABLE orders ADD COLUMN account_id TEXT REFERENCES accounts (id);
-- Of an order that was paid with one click: which click on which page, so that a second one finds the order of the first.
ALTER TABLE orders ADD COLUMN wish TEXT;

CREATE UNIQUE INDEX orders_by_account ON orders (account_id, wish);
