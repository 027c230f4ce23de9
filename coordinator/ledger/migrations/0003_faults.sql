-- +goose Up

-- Every statement is quick on a table of any size: the program of the version
-- before goes on working beside it, and knows nothing of the new columns. The
-- tables are locked in the order in which that program locks them, and whoever
-- reads one for long, such as a dump, makes this give way and try again, so that
-- nobody else waits behind it.
SET LOCAL lock_timeout = '2s';
LOCK TABLE jobs, items, uploads IN ACCESS EXCLUSIVE MODE;

ALTER TABLE items
  ADD COLUMN suspect boolean NOT NULL DEFAULT false,
  ADD COLUMN parent bigint;
COMMENT ON COLUMN items.suspect IS 'agents may have died of it: it was handed out again and again, and nobody said what became of it';
COMMENT ON COLUMN items.parent IS 'the item that its objects were handed on from: what went wrong before stands there';

ALTER TABLE jobs ADD COLUMN moved_at timestamptz;
COMMENT ON COLUMN jobs.moved_at IS
  'when a result last brought it on, an agent last said that it moves bytes of it, or it was last let go on';
UPDATE jobs SET moved_at = now() WHERE state = 'running'; -- there are few; none is to look as if it had stood still since its beginning

COMMENT ON COLUMN items.fault IS 'of a scan, a part and an abort: what went wrong; it is dead of it, or another item tries again';
COMMENT ON COLUMN items.error IS 'the same in words';

ALTER TABLE jobs ADD COLUMN stalled jsonb;
COMMENT ON COLUMN jobs.stalled IS 'since when nothing of it moves, and why as far as that is known; NULL: it moves, or was not found out yet';

ALTER TABLE uploads
  ADD COLUMN stood text NOT NULL DEFAULT '',
  ADD COLUMN repeated boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN uploads.repeated IS 'its begin was handed out before: another upload may have been opened that nobody heard of';
COMMENT ON COLUMN uploads.stood IS 'what stood under its key at the target before it was opened, which alone it may replace: an ETag, or * for nothing; empty: not known';

CREATE TABLE clock (
  one   boolean PRIMARY KEY DEFAULT true CHECK (one),
  ticks bigint NOT NULL
);
INSERT INTO clock (ticks) VALUES (0);
COMMENT ON TABLE clock IS 'How far the ledger has come, also while it gives out no ids. The queue remembers it, so a ledger that was set back is told by it.';
COMMENT ON COLUMN clock.one IS 'there is one row';
COMMENT ON COLUMN clock.ticks IS 'how often a coordinator has moved it on; each does so every few seconds';
