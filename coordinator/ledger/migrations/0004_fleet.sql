-- +goose Up

-- Access, limits and notices. As in 0003_faults.sql every statement is quick on
-- a table of any size, the program of the version before goes on working beside
-- it, and whoever reads for long makes this give way.
SET LOCAL lock_timeout = '2s';
LOCK TABLE jobs, items, agents, events IN ACCESS EXCLUSIVE MODE;

ALTER TABLE agents
  ADD COLUMN moving jsonb,
  ADD COLUMN labels jsonb,
  ADD COLUMN stores jsonb,
  ADD COLUMN tuning jsonb;
COMMENT ON COLUMN agents.moving IS 'ids of the jobs of which bytes moved lately; NULL: it does not say';
COMMENT ON COLUMN agents.labels IS 'what its operator says of it';
COMMENT ON COLUMN agents.stores IS 'names of the stores that its configuration knows';
COMMENT ON COLUMN agents.tuning IS 'how many streams go to each pair of stores, and why';

ALTER TABLE events ADD COLUMN remote text NOT NULL DEFAULT '';
COMMENT ON COLUMN events.remote IS 'the address that the request came from; empty: nobody asked';

-- Nobody is to be told now of jobs that ended before there were notices. What
-- has not ended yet is little.
ALTER TABLE jobs ADD COLUMN noticed jsonb NOT NULL
  DEFAULT '{"job.finished": null, "job.failed": null, "job.canceled": null, "job.failure_rate": null}';
ALTER TABLE jobs ALTER COLUMN noticed SET DEFAULT '{}';
UPDATE jobs SET noticed = '{}' WHERE finished_at IS NULL;
COMMENT ON COLUMN jobs.noticed IS
  'of which kinds there was a notice already, and when; of job.stalled only until it moves again, of an end only until the job is retried';
CREATE INDEX jobs_unnoticed ON jobs (id)
  WHERE state NOT IN ('running', 'paused') AND NOT noticed ?| '{job.finished,job.failed,job.canceled}';
COMMENT ON INDEX jobs_unnoticed IS 'ends that nobody was told of yet';

ALTER TABLE items ADD COLUMN class text;
COMMENT ON COLUMN items.class IS 'of a queued item whose job has changed its class since: that under which it is on the queue; NULL: its job''s';

CREATE TABLE tokens (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text NOT NULL,
  scope      text NOT NULL CHECK (scope IN ('read', 'operate', 'admin')),
  hash       bytea NOT NULL UNIQUE,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  expires_at timestamptz,
  used_at    timestamptz,
  revoked_at timestamptz
);
COMMENT ON TABLE tokens IS 'What lets callers use the API. The secrets themselves are nowhere.';
COMMENT ON COLUMN tokens.name IS 'who or what shows it; events.who names it so';
COMMENT ON COLUMN tokens.hash IS 'SHA-256 of the secret';
COMMENT ON COLUMN tokens.used_at IS 'to the minute';
CREATE UNIQUE INDEX tokens_name ON tokens (name) WHERE revoked_at IS NULL;
COMMENT ON INDEX tokens_name IS 'the audit log is to be read: a name is one caller';

CREATE TABLE sessions (
  hash       bytea PRIMARY KEY,
  token_id   bigint REFERENCES tokens ON DELETE CASCADE,
  code       boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL
);
COMMENT ON TABLE sessions IS 'Browsers that are signed in, and codes by which one may be, once.';
COMMENT ON COLUMN sessions.hash IS 'SHA-256 of what the cookie, or the link, says';
COMMENT ON COLUMN sessions.token_id IS 'what it was opened with: revoking that ends it';
COMMENT ON COLUMN sessions.code IS 'it opens a session and is gone then';
CREATE INDEX sessions_token ON sessions (token_id);
COMMENT ON INDEX sessions_token IS 'ending those of a token';

CREATE TABLE invites (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  hash       bytea NOT NULL UNIQUE,
  site       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at    timestamptz,
  used_by    text NOT NULL DEFAULT ''
);
COMMENT ON TABLE invites IS 'What lets one agent join the fleet, once.';
COMMENT ON COLUMN invites.hash IS 'SHA-256 of the secret';
COMMENT ON COLUMN invites.used_by IS 'the name of the agent that joined';

CREATE TABLE identities (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  agent      text NOT NULL,
  site       text NOT NULL,
  key        text NOT NULL UNIQUE,
  host       text NOT NULL,
  invite_id  bigint REFERENCES invites,
  joined_at  timestamptz NOT NULL DEFAULT now(),
  renewed_at timestamptz,
  revoked_at timestamptz,
  revoked_by text NOT NULL DEFAULT ''
);
COMMENT ON TABLE identities IS 'Agents that have joined. Those that the queue lets in by other means have no row.';
COMMENT ON COLUMN identities.key IS 'public key of the pair that the agent made: the queue knows it by that';
CREATE UNIQUE INDEX identities_name ON identities (agent) WHERE revoked_at IS NULL;
COMMENT ON INDEX identities_name IS 'a name is one agent';

CREATE TABLE limits (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  scope      text NOT NULL CHECK (scope IN ('store', 'site', 'job')),
  name       text NOT NULL,
  bytes      bigint NOT NULL DEFAULT 0 CHECK (bytes >= 0),
  requests   double precision NOT NULL DEFAULT 0 CHECK (requests >= 0),
  windows    jsonb,
  changed_at timestamptz NOT NULL DEFAULT now(),
  changed_by text NOT NULL,
  UNIQUE (scope, name)
);
COMMENT ON TABLE limits IS 'How fast the whole fleet may go to and from what they name.';
COMMENT ON COLUMN limits.name IS 'of a store: how its URL begins; of a site: its name; of a job: its number';
COMMENT ON COLUMN limits.bytes IS 'a second; 0: as many as there are';
COMMENT ON COLUMN limits.requests IS 'a second; 0: as many as there are';
COMMENT ON COLUMN limits.windows IS 'when another rate holds, every week anew';

CREATE TABLE shares (
  site          text NOT NULL,
  agent         text NOT NULL,
  limit_id      bigint NOT NULL, -- no reference: it outlives its limit until its time is over
  bytes         bigint NOT NULL,
  requests      double precision NOT NULL,
  told_bytes    bigint NOT NULL,
  told_requests double precision NOT NULL,
  until         timestamptz NOT NULL,
  PRIMARY KEY (limit_id, site, agent)
);
COMMENT ON TABLE shares IS 'What of each limit an agent may be using. Together they never exceed it.';
COMMENT ON COLUMN shares.agent IS 'its name; of a former process of it with # and the name of that';
COMMENT ON COLUMN shares.bytes IS 'a second: the most that it may still believe to be its own';
COMMENT ON COLUMN shares.told_bytes IS 'what it was, or is being, told last';
COMMENT ON COLUMN shares.until IS 'when it uses it no more, unless it is told so again';

CREATE TABLE sharers (
  site        text NOT NULL,
  agent       text NOT NULL,
  told        bigint NOT NULL DEFAULT 0,
  bound       boolean NOT NULL DEFAULT false,
  stamp       text NOT NULL,
  answered_at timestamptz NOT NULL DEFAULT now(),
  uses        jsonb,
  PRIMARY KEY (site, agent)
);
COMMENT ON TABLE sharers IS 'Agents that limits are divided among, as they answered last.';
COMMENT ON COLUMN sharers.told IS 'number of the last allotment that it was, or is being, told of';
COMMENT ON COLUMN sharers.bound IS 'that, or one before, may bound it';
COMMENT ON COLUMN sharers.stamp IS 'names the moment of its answer: what it is told next counts from then';
COMMENT ON COLUMN sharers.answered_at IS 'no earlier than that';
COMMENT ON COLUMN sharers.uses IS 'how much it used of its shares';

CREATE SEQUENCE allotments;
COMMENT ON SEQUENCE allotments IS 'numbers of what agents are told of their shares, so that an older one never replaces a newer one';

CREATE TABLE deliveries (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  notice     text NOT NULL,
  receiver   text NOT NULL,
  kind       text NOT NULL,
  job_id     bigint REFERENCES jobs,
  body       text NOT NULL,
  state      text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'given_up')),
  tries      integer NOT NULL DEFAULT 0,
  next_at    timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now(),
  sent_at    timestamptz,
  status     integer NOT NULL DEFAULT 0,
  error      text NOT NULL DEFAULT ''
);
COMMENT ON TABLE deliveries IS 'Notices on their way to receivers, and what became of each.';
COMMENT ON COLUMN deliveries.notice IS 'its own id, the same for all receivers and tries';
COMMENT ON COLUMN deliveries.receiver IS 'its name in the configuration';
COMMENT ON COLUMN deliveries.next_at IS 'when it is tried next; a coordinator that tries moves it on first';
COMMENT ON COLUMN deliveries.status IS 'of the last answer; 0: there was none';
COMMENT ON COLUMN deliveries.tries IS 'so far, the present one included';
CREATE INDEX deliveries_due ON deliveries (receiver, next_at) WHERE state = 'waiting';
COMMENT ON INDEX deliveries_due IS 'what is to be tried next, receiver by receiver';
CREATE INDEX deliveries_receiver ON deliveries (receiver, state, id);
COMMENT ON INDEX deliveries_receiver IS 'listing, and how deliveries to a receiver have fared';
