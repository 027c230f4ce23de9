package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/internal/bus"
	"github.com/tranship/tranship/internal/work"
)

func (p *program) fleetLeafCommand() *cobra.Command {
	var keys, site string
	cmd := &cobra.Command{
		Use:   "leaf",
		Short: "Make the credentials of a site's leaf node",
		Long: `Make the credentials by which the leaf node of a site enters a NATS cluster of
your own, from the folder that tranship fleet keys made, and write them there.
Whoever reaches the leaf node may then do what the agents of that site may. It
asks no server, and runs where the keys are locked away.`,
		Args:    arguments(),
		Example: example("tranship fleet leaf --keys nats-keys --site lab"),
		RunE: func(*cobra.Command, []string) error {
			if keys == "" {
				return usage("write for example --keys nats-keys", "--keys: name the folder that tranship fleet keys made")
			}
			if err := work.CheckSite(site); err != nil {
				return usage("name the site with --site", "%w", err)
			}
			return p.fleetLeaf(keys, site)
		},
	}
	cmd.Flags().StringVar(&keys, "keys", "", "folder that tranship fleet keys made")
	cmd.Flags().StringVar(&site, "site", "", "where the leaf node stands")
	return cmd
}

func (p *program) fleetLeaf(dir, site string) error {
	seeds := filepath.Join(dir, "seeds.json")
	keys, err := os.ReadFile(seeds)
	if err != nil {
		return fail(ExitFailed, err, "tranship fleet keys wrote it; it is what you have locked away")
	}
	text, err := bus.NewLeafCredentials(keys, site)
	if err != nil {
		return fail(ExitFailed, fmt.Errorf("%s: %w", seeds, err), "")
	}
	path := filepath.Join(dir, "leaf-"+site+".creds")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fail(ExitFailed, fmt.Errorf("%s exists", path), "use it: several leaf nodes of a site may; or move it away for another")
	}
	if err != nil {
		return fmt.Errorf("write the credentials: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the credentials: %w", err)
	}
	p.say("on the leaf node it is /etc/nats/site.creds")
	_, err = fmt.Fprintln(p.stdout, path)
	return err
}
