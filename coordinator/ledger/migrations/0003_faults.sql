-- +goose Up

-- Every statement is quick on a table of any size: the program of the version
-- before goes on working beside it, and knows nothing of the new columns.

ALTER TABLE items
  ADD COLUMN suspect boolean NOT NULL DEFAULT false,
  ADD COLUMN parent bigint;
COMMENT ON COLUMN items.suspect IS 'agents may have died of it: it was handed out again and again, and nobody said what became of it';
COMMENT ON COLUMN items.parent IS 'the item that its objects were handed on from: what went wrong before stands there';

ALTER TABLE jobs ADD COLUMN moved_at timestamptz;
COMMENT ON COLUMN jobs.moved_at IS 'when a result last changed it';

ALTER TABLE uploads ADD COLUMN stood text NOT NULL DEFAULT '';
COMMENT ON COLUMN uploads.stood IS 'what stood under its key at the target before it was opened, which alone it may replace: an ETag, or * for nothing; empty: not known';
