package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/tranship/tranship/coordinator/ledger"
)

func (p *program) migrateCommand() *cobra.Command {
	var (
		file   string
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the ledger's schema up to date",
		Long: `Bring the schema of the ledger that postgres.url or TRANSHIP_DATABASE_URL names
up to date. Coordinators do the same when they start; this is for those whose
own user may not change the schema. The coordinator before keeps working.`,
		Args:    arguments(),
		Example: example("tranship migrate --dry-run"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.migrate(cmd.Context(), file, dryRun)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be done")
	return cmd
}

func (p *program) migrate(ctx context.Context, file string, dryRun bool) error {
	cfg, err := p.settings(file)
	if err != nil {
		return err
	}
	if cfg, err = checked(cfg); err != nil {
		return err
	}
	if cfg.Postgres.URL.IsZero() {
		return usage("a private Postgres is migrated by whoever starts it", "no database: set postgres.url or TRANSHIP_DATABASE_URL")
	}
	url := cfg.Postgres.URL.Reveal()
	look, cancel := context.WithTimeout(ctx, time.Duration(cfg.Postgres.Timeout))
	defer cancel()
	current, target, err := ledger.MigrateStatus(look, url)
	if err != nil {
		return ledgerError(err)
	}
	if dryRun || current >= target {
		p.say("the schema has version %d; this program needs %d", current, target)
		return nil
	}
	applied, err := ledger.Migrate(ctx, url)
	if err != nil {
		return ledgerError(err)
	}
	p.say("%d migrations applied: version %d is now %d", applied, current, target)
	return nil
}
