-- Who works a row of the outbox off has it for himself until then: another process looks for another row.
ALTER TABLE outbox ADD COLUMN taken_until INTEGER NOT NULL DEFAULT 0;

-- Who is in the back room, whichever process let them in. The id is a hash of the cookie and the password: a new password ends every session.
CREATE TABLE sessions (
    id      TEXT    NOT NULL PRIMARY KEY,
    csrf    TEXT    NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT;
