package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/internal/bus"
)

func (p *program) fleetKeysCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make the keys for a NATS cluster of your own",
		Long: `Make the keys by which the servers of a NATS cluster of your own know the
coordinators and agents of a fleet, and write them to a new folder. A
coordinator that runs NATS itself needs none of this: it makes its own keys.`,
		Args:    arguments(),
		Example: example("tranship fleet keys --out nats-keys"),
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return usage("write for example --out nats-keys", "--out: name a folder to make")
			}
			return p.fleetKeys(out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder to write to; it must not exist yet")
	return cmd
}

// fleetKeys writes into a folder that is new, so that no key is ever replaced:
// servers and agents would go on with the old ones.
func (p *program) fleetKeys(dir string) error {
	files, err := bus.NewFleetKeys()
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return fail(ExitFailed, fmt.Errorf("%s exists", dir), "name a folder that does not: keys are never replaced, for those that are in use would be lost")
	} else if err != nil {
		return fmt.Errorf("make a folder for the keys: %w", err)
	}
	for _, f := range files {
		mode := fs.FileMode(0o644)
		if f.Secret {
			mode = 0o600
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Text, mode); err != nil {
			return fmt.Errorf("write the keys: %w", err)
		}
		p.say("%-18s %s", f.Name, f.What)
	}
	_, err = fmt.Fprintln(p.stdout, dir)
	return err
}
