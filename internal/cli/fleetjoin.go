package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

// A joinOrder is what fleet join was asked for.
type joinOrder struct {
	server, token, pin, name, data, file string
}

func (p *program) fleetJoinCommand() *cobra.Command {
	var o joinOrder
	cmd := &cobra.Command{
		Use:   "join --server URL --token TOKEN",
		Short: "Make the agent of this machine one of a fleet that has invited it",
		Long: `Make the agent of this machine one of the fleet, by the command that tranship
fleet invite printed. It makes a key, whose secret never leaves this machine, and
writes who the agent is to identity.json in its data folder. The agent finds it
there; no configuration is needed, and storage credentials are still its own.

If it is interrupted, run it again: the same token answers the same key.`,
		Args:    arguments(),
		Example: example("tranship fleet join --server https://tranship.example.org --token tsj_…"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.join(cmd.Context(), o)
		},
	}
	configFlag(cmd, &o.file)
	cmd.Flags().StringVar(&o.server, "server", "", "address of the coordinator, as the invitation says")
	cmd.Flags().StringVar(&o.token, "token", "", "the invitation's token")
	cmd.Flags().StringVar(&o.pin, "pin", "", "what the server's certificate must be of, as the invitation says")
	cmd.Flags().StringVar(&o.name, "name", "", "name of the agent (default: agent.name, else the machine's name)")
	cmd.Flags().StringVar(&o.data, "data", "", "the agent's data folder (default: that of the installed unit, else data of the configuration)")
	return cmd
}

func (p *program) join(ctx context.Context, o joinOrder) error {
	cfg, err := p.joinSettings(&o)
	if err != nil {
		return err
	}
	ca, err := optionalFile(cfg.HTTP.TLS.CA)
	if err != nil {
		return fail(ExitUsage, fmt.Errorf("http.tls.ca: %w", err), "")
	}
	client, err := trusting(o.server, o.pin, ca)
	if err != nil {
		return err
	}
	id, err := begunIdentity(o)
	if err != nil {
		return err
	}
	if err := id.write(o.data); err != nil { // before anybody knows the key
		return fail(ExitFailed, err, "run it as a user who may write there, or name another folder with --data")
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find this machine's name: %w", err)
	}
	welcome, err := client.Join(ctx, api.Joining{Token: o.token, Joining: work.Joining{Agent: id.Agent, Host: host, Key: id.Key}})
	if err != nil {
		return joinError(err)
	}
	id = id.with(welcome, time.Now())
	if err := id.write(o.data); err != nil {
		return fail(ExitFailed, err, "make room there and run the same command again")
	}
	p.say("agent %s has joined the fleet at site %s; %s is its identity", id.Agent, welcome.Site, filepath.Join(o.data, identityFile))
	p.say("start it: systemctl enable --now tranship-agent, or tranship agent%s", p.dataHint(o))
	return nil
}

// dataHint returns what the agent must be told to find its identity.
func (p *program) dataHint(o joinOrder) string {
	switch {
	case o.file != "":
		return " --config " + o.file
	case o.data == unitFolder:
		return ""
	case o.data != config.Default().Data && o.data != p.env("TRANSHIP_DATA") && p.env(config.FileVariable) == "":
		return " with TRANSHIP_DATA=" + o.data
	}
	return ""
}

// joinSettings fills the gaps of the order from the configuration, and checks
// it.
func (p *program) joinSettings(o *joinOrder) (config.Config, error) {
	cfg, err := p.settings(o.file)
	if err != nil {
		return cfg, err
	}
	const copied = "copy the command as tranship fleet invite printed it"
	if o.server == "" || o.token == "" {
		return cfg, usage(copied, "--server and --token are needed")
	}
	if !work.IsSecret(work.SecretInvite, o.token) {
		return cfg, usage(copied, "the token is not whole: it begins with %s and has 53 characters", work.SecretInvite)
	}
	if err := checkPin(o.pin); err != nil {
		return cfg, err
	}
	if o.name == "" {
		o.name = cfg.Agent.Name
	}
	if o.name != "" {
		if err := work.CheckAgent(o.name); err != nil {
			return cfg, usage("choose another with --name", "%w", err)
		}
	}
	if o.data == "" {
		o.data = agentFolder(cfg.Data)
	}
	if o.data, err = filepath.Abs(o.data); err != nil {
		return cfg, usage("name a folder with --data", "data folder: %w", err)
	}
	return cfg, nil
}

// unitFolder is the data folder of the agent that the packages' unit runs.
const unitFolder = "/var/lib/tranship-agent"

// agentFolder returns the data folder that an agent of this machine will have:
// the configured one, unless nothing was configured and a package has made one.
func agentFolder(configured string) string {
	if info, err := os.Stat(unitFolder); configured == config.Default().Data && err == nil && info.IsDir() {
		return unitFolder
	}
	return configured
}

// begunIdentity returns the identity that joining begins with: one with a new
// key, or that of an earlier try, about which nobody knows how far it came.
func begunIdentity(o joinOrder) (identity, error) {
	id, found, err := readIdentity(o.data)
	if err != nil {
		return id, err
	}
	if id.joined() {
		return id, fail(ExitFailed, fmt.Errorf("this is agent %s of site %s already: %s", id.Agent, id.Welcome.Site, filepath.Join(o.data, identityFile)),
			"for another agent name another folder with --data; if that one was revoked, remove the file")
	}
	if !found {
		if id.Seed, id.Key, err = bus.NewKey(); err != nil {
			return id, fmt.Errorf("make a key: %w", err)
		}
	}
	if o.name != "" || id.Agent == "" {
		id.Agent = o.name
	}
	if id.Agent == "" {
		id.Agent = hostName()
	}
	id.Server, id.Pin = o.server, o.pin
	return id, nil
}

// joinError says what to do about a refusal. The server's own hint is about its
// clients, whoever they are.
func joinError(err error) error {
	if errors.Is(err, errPin) {
		return fail(ExitDenied, err, "ask for a new invitation; if that does not help, somebody may be between here and the coordinator")
	}
	if errors.Is(err, api.ErrUnreachable) {
		return fail(ExitUnreachable, err, "can this machine reach the coordinator there? http.url of the coordinator is what the invitation says")
	}
	return answered(err)
}
