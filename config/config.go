// Package config reads the one YAML file that both daemons use.
//
// Load is strict: an unknown key, a wrong type or a value out of range is an
// error that names the line or the key, never a default taken in silence.
// Default is what an empty file means, and example.yaml spells it out; a test
// keeps the two equal. Values of the environment win over the file (see
// Environ). A Secret is shown by nothing, however it is printed. Packages
// below the roles receive plain values from here and do not import this
// package.
//
// Everything here is plain data: safe to share once built, not to change then.
package config

import (
	"time"

	"github.com/tranship/tranship/internal/work"
)

// A Config is everything a daemon can be told. Its keys are described in
// example.yaml.
type Config struct {
	// Data is the folder for what a daemon keeps on disk: the private
	// Postgres cluster and the embedded queue.
	Data string `yaml:"data"`

	Log         Log         `yaml:"log"`
	Postgres    Postgres    `yaml:"postgres"`
	NATS        NATS        `yaml:"nats"`
	HTTP        HTTP        `yaml:"http"`
	Coordinator Coordinator `yaml:"coordinator"`
	Agent       Agent       `yaml:"agent"`

	// Stores are named stores, and what the fleet knows of those that URLs name.
	Stores map[string]Store `yaml:"stores"`
	Notify Notify           `yaml:"notify"`
}

// Log says what is written to standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text or json
}

// Postgres says where the coordinator's ledger is.
type Postgres struct {
	// URL of an existing server. Empty: the coordinator starts a private
	// cluster in the data folder.
	URL Secret `yaml:"url"`
	// Connections the coordinator may hold open.
	Connections int `yaml:"connections"`
	// Timeout after which a silent server is given up, per statement.
	Timeout Duration `yaml:"timeout"`
}

// NATS says where the queue is.
type NATS struct {
	// URL of an existing server or cluster. Empty: the coordinator runs the
	// server itself, and agents connect to the address of Listen.
	URL Secret `yaml:"url"`
	// Credentials is the path of a NATS .creds file.
	Credentials string `yaml:"credentials"`
	// Auth says whom the embedded server lets in: keys, those with a credential
	// that the coordinator signed, or open, whoever reaches it.
	Auth string `yaml:"auth"`
	// Advertise is where agents reach the servers; empty: URL, or else Listen.
	Advertise string `yaml:"advertise"`
	TLS       TLS    `yaml:"tls"`
	// Account is the public key of the servers' account for the fleet, and
	// SigningKey the seed of the key that agents' credentials are signed with,
	// where the servers are not embedded.
	Account    string `yaml:"account"`
	SigningKey Secret `yaml:"signing_key"`
	// SystemCredentials is the path of a .creds file of the system account, and
	// OperatorKey the seed of a signing key of the operator, who vouches for the
	// account. By both agents are revoked where the servers are not embedded.
	SystemCredentials string `yaml:"system_credentials"`
	OperatorKey       Secret `yaml:"operator_key"`
	// Domain of JetStream at the server.
	Domain string `yaml:"domain"`
	// Listen is the address of the embedded server.
	Listen string `yaml:"listen"`
	// Replicas of each stream; 3 on a cluster of three or more.
	Replicas int `yaml:"replicas"`
	// AckWait is how long an item may lie with an agent that says nothing of
	// it before it is handed out again. The coordinators' counts.
	AckWait Duration `yaml:"ack_wait"`
	// MaxStore bounds the embedded server's disk, in bytes.
	MaxStore Size `yaml:"max_store"`
}

// HTTP says where the coordinator's API and status page are.
type HTTP struct {
	Listen string `yaml:"listen"`
	// URL is where users and agents reach it, such as https://tranship.example.org.
	// Empty: the address of Listen.
	URL string `yaml:"url"`
	// Open asks nobody for a token. Only an address of this machine may be open.
	Open bool `yaml:"open"`
	TLS  TLS  `yaml:"tls"`
}

// TLS names the files, in PEM, by which a server proves who it is and its
// clients find that true. They are read again when they change.
type TLS struct {
	Certificate string `yaml:"certificate"` // of the server, with those between it and the root
	Key         string `yaml:"key"`         // of the server
	// CA is whom clients trust to have signed it; empty: the system's.
	CA string `yaml:"ca"`
}

// A Store is what the fleet knows of a store: where it lies and how it is
// opened. A job names it store://NAME/prefix, or by a URL that matches.
type Store struct {
	// URL is what the name stands for; empty: only Match counts.
	URL string `yaml:"url"`
	// Match are URLs that begin those which are opened in the same way.
	Match []string `yaml:"match"`
	// Site is where jobs run that are to run at this store.
	Site string `yaml:"site"`
	// Credentials by their names, such as access_key_id. A value is env:NAME,
	// file:PATH or credential:NAME, which is read when the store is opened; only
	// what is no secret, such as profile, may stand here itself.
	Credentials map[string]string `yaml:"credentials"`
}

// Notify says whom the coordinator tells what has happened.
type Notify struct {
	// FailureRate is the share of a job's objects, 0 to 1, that may fail before
	// that is worth a notice. 0: never.
	FailureRate float64   `yaml:"failure_rate"`
	Webhooks    []Webhook `yaml:"webhooks"`
	SMTP        SMTP      `yaml:"smtp"`
	Mails       []Mail    `yaml:"mails"`
}

// A Webhook is a receiver that takes HTTP requests in the format of Standard
// Webhooks.
type Webhook struct {
	Name string `yaml:"name"`
	URL  Secret `yaml:"url"`
	// Secret that requests are signed with: whsec_ and base64. During a change
	// of secrets Previous signs as well.
	Secret   string `yaml:"secret"`   // env:NAME, file:PATH or credential:NAME
	Previous string `yaml:"previous"` // the same
	// Kinds of notices; none: all.
	Kinds []string `yaml:"kinds"`
	// Private lets the URL lead to an address that is not a public one.
	Private bool `yaml:"private"`
}

// SMTP is the server that mail is handed to.
type SMTP struct {
	Host     string `yaml:"host"` // host:port; empty: no mail is sent
	User     string `yaml:"user"`
	Password string `yaml:"password"` // env:NAME, file:PATH or credential:NAME
	From     string `yaml:"from"`
	TLS      string `yaml:"tls"` // starttls, tls or none
}

// A Mail is a receiver that is written to.
type Mail struct {
	Name  string   `yaml:"name"`
	To    []string `yaml:"to"`
	Kinds []string `yaml:"kinds"` // none: all
}

// Coordinator tunes planning and dispatch.
type Coordinator struct {
	// Window is how many items of one site may be on the queue at once.
	Window int `yaml:"window"`
	// Reconcile is how long an item may be on the queue without a result
	// before its message is looked for.
	Reconcile Duration `yaml:"reconcile"`
	// Stalled is how long nothing may move of a job of which something is due
	// before the coordinator says so.
	Stalled Duration `yaml:"stalled"`
}

// Agent tunes one agent.
type Agent struct {
	// Name among the agents of the fleet. Empty: the host's name.
	Name string `yaml:"name"`
	// Site where the agent stands; it takes the items of its site.
	Site string `yaml:"site"`
	// Labels are what its operator says of it, for those who look.
	Labels map[string]string `yaml:"labels"`
	// Streams is how many objects it moves at once; 0: it finds out.
	Streams int `yaml:"streams"`
	// Memory bounds the bytes it buffers.
	Memory Size `yaml:"memory"`
	// Grace is how long what is in hand may take to finish at a shutdown.
	Grace Duration `yaml:"grace"`
	// Stall is how long a stream may go without moving 16KiB before what it
	// does is given up and tried again.
	Stall Duration `yaml:"stall"`
	// Roots are the folders that file stores may lie in.
	Roots []string `yaml:"roots"`
	// Metrics is the address where Prometheus finds the agent's metrics.
	// Empty: nowhere; the agent then only dials out.
	Metrics string `yaml:"metrics"`
}

// Default returns what an empty file means.
func Default() Config {
	return Config{
		Data: "/var/lib/tranship",
		Log:  Log{Level: "info", Format: "text"},
		Postgres: Postgres{
			Connections: 12,
			Timeout:     Duration(30 * time.Second),
		},
		NATS: NATS{
			Auth:     "keys",
			Domain:   "hub",
			Listen:   "127.0.0.1:4222",
			Replicas: 1,
			AckWait:  Duration(2 * time.Minute),
			MaxStore: 8 << 30,
		},
		HTTP:        HTTP{Listen: "127.0.0.1:8480"},
		Coordinator: Coordinator{Window: 512, Reconcile: Duration(30 * time.Second), Stalled: Duration(5 * time.Minute)},
		Agent: Agent{
			Site:    work.DefaultSite,
			Labels:  map[string]string{},
			Streams: 64,
			Memory:  64 << 20,
			Grace:   Duration(30 * time.Second),
			Stall:   Duration(3 * time.Minute),
			Roots:   []string{"/"},
		},
		Stores: map[string]Store{},
		Notify: Notify{FailureRate: 0.05, Webhooks: []Webhook{}, SMTP: SMTP{TLS: "starttls"}, Mails: []Mail{}},
	}
}
