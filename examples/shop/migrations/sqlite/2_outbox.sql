-- Who works a row of the outbox off has it for himself until then: another process looks for another row.
ALTER TABLE outbox ADD COLUMN taken_until INTEGER NOT NULL DEFAULT 0;
