package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/agent"
	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/coordinator/ledger"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) doctorCommand() *cobra.Command {
	var (
		server, file string
		here         bool
		out          format
	)
	cmd := &cobra.Command{
		Use:   "doctor [SOURCE [TARGET]]",
		Short: "Examine the fleet and say what to do about what is wrong",
		Long: `Examine what a fleet depends on: Postgres (version, schema, settings, clock),
NATS (streams, lag, disk) and the agents. With SOURCE and TARGET, agents of
every site also look whether they can use these stores for a job: the source is
listed and read, and in the target an object is written, read back and removed.

With --here nobody else is asked: Postgres and NATS are looked at as far as
this machine's configuration names them, and stores as an agent on this machine
would use them.

Exit status: 0 nothing fails (warnings are none), 1 something does, 5 the
coordinator cannot be reached.`,
		Args:    atMost("SOURCE", "TARGET"),
		Example: example("tranship doctor", "tranship doctor s3://old 's3://new?profile=b'", "tranship doctor --here --config /etc/tranship/tranship.yaml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			stores, err := storesToExamine(args)
			if err != nil {
				return err
			}
			found, err := p.examine(cmd.Context(), here, server, file, stores)
			if err != nil {
				return err
			}
			if err := writeRows(p.stdout, out, each(found), checkColumns()); err != nil {
				return err
			}
			return p.diagnosis(found)
		},
	}
	serverFlag(cmd, &server)
	configFlag(cmd, &file)
	formatFlag(cmd, &out)
	cmd.Flags().BoolVar(&here, "here", false, "look from this machine, as its configuration says")
	return cmd
}

// storesToExamine returns what to ask of the stores that args name.
func storesToExamine(args []string) (stores []work.StoreCheck, err error) {
	for i, arg := range args {
		url, err := storeURL([]string{"SOURCE", "TARGET"}[i], arg)
		if err != nil {
			return nil, err
		}
		stores = append(stores, work.StoreCheck{Store: url, Write: i == 1})
	}
	return stores, nil
}

func (p *program) examine(ctx context.Context, here bool, server, file string, stores []work.StoreCheck) ([]work.Check, error) {
	if here {
		return p.examineHere(ctx, file, stores)
	}
	c, err := p.client(server)
	if err != nil {
		return nil, err
	}
	found, err := c.Examine(ctx, api.Examination{Stores: stores})
	if errors.Is(err, api.ErrUnreachable) {
		return nil, fail(ExitUnreachable, err, "is the coordinator running? On its machine, tranship doctor --here --config FILE says what keeps it from that")
	}
	return found, answered(err)
}

// examineHere looks at what this machine's configuration names.
func (p *program) examineHere(ctx context.Context, file string, stores []work.StoreCheck) ([]work.Check, error) {
	cfg, err := p.settings(file)
	if err != nil {
		return nil, err
	}
	if cfg, err = checked(cfg); err != nil {
		return nil, err
	}
	found := append(p.examineLedger(ctx, cfg.Postgres), p.examineQueue(ctx, cfg)...)
	for _, s := range stores {
		found = append(found, agent.Examine(ctx, drivers(cfg.Agent.Roots), s)...)
	}
	return found, nil
}

func (p *program) examineLedger(ctx context.Context, cfg config.Postgres) []work.Check {
	one := work.Check{Part: "postgres", What: "answer", State: work.CheckUnknown, Found: "postgres.url is not set",
		Advice: "a private Postgres is looked at by the coordinator that runs it: tranship doctor"}
	if cfg.URL.IsZero() {
		return []work.Check{one}
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	l, err := ledger.Open(ctx, cfg.URL.Reveal(), ledger.Options{Connections: 1, Timeout: min(time.Duration(cfg.Timeout), connectTimeout)})
	if err != nil {
		one.State, one.Found = work.CheckFailing, oneLine(err)
		one.Advice = "is it running, is postgres.url right, and was tranship migrate run?"
		return []work.Check{one}
	}
	defer l.Close()
	return l.Examine(ctx)
}

func (p *program) examineQueue(ctx context.Context, cfg config.Config) []work.Check {
	short, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	n := cfg.NATS
	creds := n.Credentials
	if own := bus.ViewerCredentials(filepath.Join(cfg.Data, "nats")); creds == "" && n.URL.IsZero() && n.Auth == "keys" {
		creds = own // of the coordinator on this machine
	}
	b, err := bus.Connect(short, bus.Options{URL: queueURL(n), Name: "doctor", Credentials: creds, TLS: bus.TLS(n.TLS), Domain: n.Domain})
	if err != nil {
		return []work.Check{{Part: "nats", What: "answer", State: work.CheckFailing, Found: oneLine(err),
			Advice: "is the coordinator or the NATS server running, and are nats.url and the credentials right?"}}
	}
	defer b.Close()
	return b.Examine(short)
}

func checkColumns() []column[work.Check] {
	return []column[work.Check]{
		plain("state", func(c work.Check) string { return string(c.State) }),
		plain("part", func(c work.Check) string { return text(c.Part) }),
		plain("by", func(c work.Check) string { return text(c.By) }),
		plain("what", func(c work.Check) string { return text(c.What) }),
		plain("found", func(c work.Check) string { return text(c.Found) }),
		plain("advice", func(c work.Check) string { return text(c.Advice) }),
	}
}

// diagnosis sums up what was found; it is an error if anything fails.
func (p *program) diagnosis(found []work.Check) error {
	n := map[work.CheckState]int{}
	for _, c := range found {
		n[c.State]++
	}
	if n[work.CheckFailing] > 0 {
		return fail(ExitFailed, fmt.Errorf("%d of %d checks fail", n[work.CheckFailing], len(found)), "do what stands beside them")
	}
	p.say("%d checks: none fails; warnings: %d, not possible from here: %d", len(found), n[work.CheckWarning], n[work.CheckUnknown])
	return nil
}
