package coordinator

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// start runs l in a synctest bubble and ends it with the test.
func start(t *testing.T, l loop, log *slog.Logger) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.run(ctx, &outage{log: log, what: l.what, all: &troubles{}}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run = %v", err)
		}
	})
}

func TestLoopLogsAnOutageOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		turns := 0
		began := time.Now()
		start(t, loop{what: "counting", every: time.Hour, turn: func(context.Context) error {
			if turns++; time.Since(began) < 2*time.Minute {
				return errors.New("no answer")
			}
			return nil
		}}, log)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), "counting fails") ||
			!strings.Contains(out.String(), "counting works again") {
			t.Errorf("an outage and its end were logged as:\n%s", out.String())
		}
		if turns < 20 || turns > 80 {
			t.Errorf("%d turns in two minutes of outage; pauses grow to a few seconds", turns)
		}
	})
}

func TestLoopIsWoken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var turns atomic.Int64
		l := loop{every: time.Minute, least: time.Second, wake: make(chan struct{}, 1),
			turn: func(context.Context) error { turns.Add(1); return nil }}
		start(t, l, slog.New(slog.DiscardHandler))
		synctest.Wait()
		for range 100 { // all within the least pause
			wake(l.wake)
		}
		time.Sleep(2*time.Second + time.Millisecond)
		synctest.Wait()
		if n := turns.Load(); n != 2 {
			t.Errorf("%d turns, want one at the start and one for all calls", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := turns.Load(); n != 3 {
			t.Errorf("%d turns, want another one after a minute", n)
		}
	})
}
