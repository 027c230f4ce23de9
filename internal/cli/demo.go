package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

const (
	demoObjects  = 5000
	demoStreams  = 8                      // of each agent: slow enough to be killed half-way
	demoAckWait  = 3 * time.Second        // until what a killed agent held is handed out again
	demoInterval = 20 * time.Millisecond  // between two looks at the job
	demoRestart  = 500 * time.Millisecond // until a killed agent is started again, as systemd would
)

func (p *program) demoCommand() *cobra.Command {
	var (
		objects int
		keep    bool
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: copy generated objects, kill an agent half-way, prove the result",
		Long: `Run a whole fleet in a temporary folder: a private Postgres, an embedded NATS,
a coordinator, and two agents as processes of their own. Generated objects are
copied from one file store to another, and one agent is killed half-way. In the
end both stores are compared by code that shares nothing with the product. The
exit status is 0 only if every object is equal.`,
		Args:    arguments(),
		Example: example("tranship demo", "tranship demo --objects 50000 --keep"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if objects < 1 {
				return usage("write for example --objects 5000", "--objects: %d is less than 1", objects)
			}
			return p.demo(cmd.Context(), objects, keep)
		},
	}
	cmd.Flags().IntVar(&objects, "objects", demoObjects, "how many objects to copy")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the folder with the objects, the ledger and the queue")
	return cmd
}

// A demonstration is one run of the demo.
type demonstration struct {
	*program
	dir, source, target string
	objects             int
	hub                 *hub
	agents              [2]*child
}

func (p *program) demo(ctx context.Context, objects int, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "tranship-demo-")
	if err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	// A private Postgres that runs as another user must get through to its
	// own folder below.
	if err := os.Chmod(dir, 0o711); err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	defer func() {
		if keep {
			p.say("kept: %s", dir)
		} else {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	d := &demonstration{program: p, dir: dir, objects: objects,
		source: filepath.Join(dir, "source"), target: filepath.Join(dir, "target")}
	err = d.run(ctx)
	if ctx.Err() != nil && orderly(err) == nil {
		return fail(ExitCanceled, errors.New("demo stopped"), "")
	}
	return err
}

func (d *demonstration) run(ctx context.Context) error {
	bytes, err := makeObjects(ctx, d.source, d.objects)
	if err != nil {
		return err
	}
	d.say("%s objects, %s, generated in %s", count(int64(d.objects)), bytesText(bytes), d.source)
	if err := d.start(ctx); err != nil {
		return err
	}
	defer d.hub.close()
	page, err := d.hub.signInLink(ctx)
	if err != nil {
		return err
	}
	d.say("coordinator, private Postgres and NATS are up; status page: %s", page)
	for i := range d.agents {
		if err := d.startAgent(i); err != nil {
			return err
		}
		defer func() { d.agents[i].kill() }() // what it may hold is thrown away
	}
	job, _, err := d.hub.ledger.CreateJob(ctx, work.NewJob{
		Name: "demo", Source: fileURL(d.source), Target: fileURL(d.target), Options: work.DefaultOptions(),
		Site: work.DefaultSite, Class: work.Norm, SubmittedBy: who(),
	}, work.Idempotency{})
	if err != nil {
		return err
	}
	if job, err = d.watch(ctx, job); err != nil || job.State.Open() {
		return errors.Join(err, ctx.Err())
	}
	return d.prove(ctx, job)
}

// start starts everything but the agents.
func (d *demonstration) start(ctx context.Context) error {
	cfg, err := d.alone(filepath.Join(d.dir, "data"))
	if err != nil {
		return err
	}
	if d.env("TRANSHIP_LOG_LEVEL") == "" {
		cfg.Log.Level = "error" // an agent's death makes warnings
	}
	cfg.NATS.Listen = "127.0.0.1:0"
	cfg.NATS.AckWait = config.Duration(demoAckWait)
	d.hub, err = startHub(ctx, cfg, d.logger(cfg.Log), "demo")
	if err != nil {
		return err
	}
	settings := fmt.Sprintf("log: {level: %s}\nnats: {url: %q, ack_wait: %s}\nagent: {streams: %d, grace: 5s, roots: [%q]}\n",
		cfg.Log.Level, d.hub.server.URL(), cfg.NATS.AckWait, demoStreams, d.dir)
	if err := os.WriteFile(d.agentConfig(), []byte(settings), 0o600); err != nil {
		d.hub.close()
		return fmt.Errorf("write the agents' configuration: %w", err)
	}
	return nil
}

func (d *demonstration) agentConfig() string { return filepath.Join(d.dir, "agent.yaml") }

func (d *demonstration) startAgent(i int) error {
	name := fmt.Sprintf("agent-%d", i+1)
	creds, err := d.introduceAgent(name)
	if err != nil {
		return fmt.Errorf("start agent %d: %w", i+1, err)
	}
	c, err := startChild(d.stderr, []string{
		config.FileVariable + "=" + d.agentConfig(),
		"TRANSHIP_AGENT_NAME=" + name,
		"TRANSHIP_NATS_CREDENTIALS=" + creds,
	}, "agent")
	if err != nil {
		return fmt.Errorf("start agent %d: %w", i+1, err)
	}
	d.agents[i] = c
	d.say("agent-%d is process %d", i+1, c.pid())
	return nil
}

// introduceAgent makes an agent known to the queue and returns the file with
// what it proves that with.
func (d *demonstration) introduceAgent(name string) (path string, err error) {
	token, seed, err := d.hub.identify(name, work.DefaultSite)
	if err != nil {
		return "", err
	}
	signed, err := token()
	if err != nil {
		return "", err
	}
	text, err := bus.FormatCredentials(signed, seed)
	if err != nil {
		return "", err
	}
	path = filepath.Join(d.dir, name+".creds")
	return path, os.WriteFile(path, text, 0o600)
}

// watch follows the job and kills the first agent when half of it is done.
func (d *demonstration) watch(ctx context.Context, job work.Job) (work.Job, error) {
	shown := newProgress(d.stderr)
	defer shown.end()
	var killed, restarted time.Time
	look := func(j work.Job) {
		shown.show(j)
		switch done := j.Planned - j.Open; {
		case killed.IsZero() && j.State.Open() && done >= int64(d.objects)/2:
			killed = time.Now()
			d.agents[0].kill()
			d.say("killed agent-1 (process %d) at %s of %s objects", d.agents[0].pid(), count(done), count(int64(d.objects)))
		case !killed.IsZero() && restarted.IsZero() && time.Since(killed) > demoRestart:
			restarted = time.Now()
			if err := d.startAgent(0); err != nil {
				d.say("%v", err) // the other agent finishes
			}
		}
	}
	err := d.hub.runWhile(ctx, func(ctx context.Context) (err error) {
		job, err = d.follow(ctx, d.hub, job.ID, demoInterval, look)
		return err
	})
	shown.end()
	if killed.IsZero() && err == nil && !job.State.Open() {
		d.say("the job was over before an agent could be killed; more --objects give it time")
	}
	return job, err
}

// prove writes what shows that the job is done, or returns why it is not.
func (d *demonstration) prove(ctx context.Context, job work.Job) error {
	found, err := readEvidence(ctx, d.hub.ledger, job.ID)
	if err != nil {
		return err
	}
	d.summarize(job, found)
	b, err := d.hub.ledger.Balance(ctx, job.ID)
	if err != nil {
		return err
	}
	same, differences, err := compareFolders(ctx, d.source, d.target)
	if err != nil {
		return err
	}
	verdict := map[bool]string{true: "holds", false: "DOES NOT HOLD"}
	fmt.Fprintf(d.stdout, "page        %s\n", d.hub.address())
	fmt.Fprintf(d.stdout, "job         %s, %s sent for %s\n", job.State, bytesText(job.MovedBytes), bytesText(job.PlannedBytes))
	fmt.Fprintf(d.stdout, "counters    %d planned = %d copied + %d skipped + %d failed + %d open\n",
		job.Planned, job.Copied, job.Skipped, job.Failed, job.Open)
	fmt.Fprintf(d.stdout, "invariant   %s, recounted from the ledger's items\n", verdict[b.Holds()])
	fmt.Fprintf(d.stdout, "comparison  %d of %d objects are equal at both ends, byte for byte\n", same, d.objects)
	for _, line := range differences[:min(len(differences), 10)] {
		fmt.Fprintf(d.stdout, "            %s\n", line)
	}
	switch {
	case job.State != work.Succeeded:
		return jobEnd(job)
	case len(differences) > 0 || same != d.objects:
		return fail(ExitMismatch, fmt.Errorf("%d differences between source and target", max(len(differences), d.objects-same)), "run it again with --keep and look at both")
	case !b.Holds():
		return fail(ExitMismatch, errors.New("the ledger's counters do not add up"), "run it again with --keep and look into the ledger")
	}
	return nil
}

func fileURL(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }
