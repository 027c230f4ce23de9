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
	// Token that the embedded server asks for and that clients show.
	Token Secret `yaml:"token"`
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
	// Streams is how many objects it moves at once.
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
			Streams: 64,
			Memory:  64 << 20,
			Grace:   Duration(30 * time.Second),
			Stall:   Duration(3 * time.Minute),
			Roots:   []string{"/"},
		},
	}
}
