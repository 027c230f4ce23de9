package cli

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/config"
)

// configFlag adds --config to a command.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", "", "configuration file (default: $"+config.FileVariable+")")
}

// dataFlag adds --data to a command.
func dataFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "data", "", "folder for the ledger and the queue (default: $TRANSHIP_DATA, else ~/.local/state/tranship)")
}

// settings reads the configuration file, if there is one, and the
// environment. The caller validates once it has changed what it must.
func (p *program) settings(path string) (config.Config, error) {
	if path == "" {
		path = p.env(config.FileVariable)
	}
	c, err := config.Load(path)
	if err != nil {
		return c, fail(ExitUsage, err, "")
	}
	if err := c.Environ(p.lookup); err != nil {
		return c, fail(ExitUsage, err, "")
	}
	return c, nil
}

// checked returns c if it is valid.
func checked(c config.Config) (config.Config, error) {
	if err := c.Validate(); err != nil {
		return c, fail(ExitUsage, err, "config/example.yaml describes every key")
	}
	return c, nil
}

// dataFolder returns the folder of the all-in-one commands: the flag's, the
// environment's or the user's own. It is absolute.
func (p *program) dataFolder(flag string) (string, error) {
	dir := flag
	if dir == "" {
		dir = p.env("TRANSHIP_DATA")
	}
	if dir == "" {
		if state := p.env("XDG_STATE_HOME"); filepath.IsAbs(state) {
			dir = filepath.Join(state, "tranship")
		}
	}
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", usage("name a folder with --data", "no data folder: %w", err)
		}
		dir = filepath.Join(home, ".local", "state", "tranship")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", usage("name a folder with --data", "data folder %s: %w", dir, err)
	}
	return abs, nil
}

// logger returns a logger that writes to standard error as c says.
func (p *program) logger(c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // Validate has refused any other text
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(p.stderr, o))
	}
	return slog.New(slog.NewTextHandler(p.stderr, o))
}
