package cli

import (
	"cmp"
	"os"

	"github.com/tranship/tranship/coordinator"
)

// notices says whom the hub's coordinator tells what has happened. The port of
// the page must be known by then, unless the configuration says where it is.
func (h *hub) notices() (coordinator.Notices, error) {
	to, err := coordinator.Receivers(h.cfg.Notify, os.LookupEnv, buildVersion().Version)
	if err != nil {
		return coordinator.Notices{}, fail(ExitUsage, err, "config/example.yaml describes the keys of notify")
	}
	return coordinator.Notices{Receivers: to, FailureRate: h.cfg.Notify.FailureRate, Page: cmp.Or(h.cfg.HTTP.URL, h.address())}, nil
}
