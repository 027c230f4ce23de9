package cli

import (
	"github.com/tranship/tranship/agent"
	"github.com/tranship/tranship/config"
	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/storage/azurestore"
	"github.com/tranship/tranship/internal/storage/filestore"
	"github.com/tranship/tranship/internal/storage/gcsstore"
	"github.com/tranship/tranship/internal/storage/memstore"
	"github.com/tranship/tranship/internal/storage/s3store"
)

// drivers are the clouds that this binary knows. File stores may only lie in
// roots.
func drivers(roots []string) storage.Drivers {
	return storage.Drivers{
		"s3":     s3store.Open,
		"gs":     gcsstore.Open,
		"azblob": azurestore.Open,
		"file":   filestore.Opener(roots),
		"mem":    memstore.Open,
	}
}

// opener opens stores as an agent with this configuration does.
func opener(cfg config.Config) agent.Opener {
	return agent.Opener{Drivers: drivers(cfg.Agent.Roots), Known: cfg.Stores}
}
