package cli

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// statusInterval is how often systemd is told the status when it wants no
// signs of life.
const statusInterval = 15 * time.Second

// A notifier tells systemd how the process is. Outside of systemd it does
// nothing.
type notifier struct {
	log     *slog.Logger
	status  func() string
	healthy func(context.Context) error
}

// run says that the process is up, then every so often how it is, and, once
// ctx ends, that it stops. A sign of life is given as long as healthy answers
// in time, whatever it says: a process that is stuck is restarted, one that
// waits for a ledger or a queue that is down would not be helped by that.
func (n notifier) run(ctx context.Context) error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		<-ctx.Done()
		return nil
	}
	life, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.log.WarnContext(ctx, "watchdog's settings cannot be read", "err", err)
	}
	every := statusInterval
	if life > 0 {
		every = life / 3
	}
	n.tell(daemon.SdNotifyReady + "\nSTATUS=" + n.status())
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			n.tell(daemon.SdNotifyStopping + "\nSTATUS=stopping: finishing what is in hand")
			return nil
		case <-tick.C:
			n.beat(ctx, every, life > 0)
		}
	}
}

func (n notifier) beat(ctx context.Context, every time.Duration, life bool) {
	ctx, cancel := context.WithTimeout(ctx, every)
	defer cancel()
	state := "STATUS=" + n.status()
	if err := n.healthy(ctx); err != nil {
		n.log.WarnContext(ctx, "not healthy", "err", err)
		state = "STATUS=not healthy: " + oneLine(err)
	}
	if life && ctx.Err() == nil {
		state = daemon.SdNotifyWatchdog + "\n" + state
	}
	n.tell(state)
}

func (n notifier) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("systemd cannot be told", "err", err)
	}
}
