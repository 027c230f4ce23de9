package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const pidFile = "postmaster.pid"

// stopOrphans stops what a dead owner left running on the cluster in data. The
// caller holds the folder's lock, so whatever runs there is nobody's.
func stopOrphans(ctx context.Context, data string, log *slog.Logger) error {
	steps := []struct {
		signal syscall.Signal
		wait   time.Duration
	}{
		{syscall.SIGINT, 15 * time.Second},
		{syscall.SIGQUIT, immediateShutdown},
		{syscall.SIGKILL, 10 * time.Second},
	}
	for _, step := range steps {
		pids := serving(data)
		if main := postmaster(data); step.signal == syscall.SIGINT && slices.Contains(pids, main) {
			pids = []int{main} // it sees to the others
		}
		if len(pids) > 0 {
			log.WarnContext(ctx, "stopping a server that its owner left behind", "pids", pids, "signal", step.signal.String())
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, step.signal)
			_ = syscall.Kill(pid, syscall.SIGCONT) // a stopped process obeys only SIGKILL
		}
		gone, err := allGone(ctx, data, step.wait)
		if err != nil {
			return err
		}
		if gone {
			return removePIDFile(data)
		}
	}
	return fmt.Errorf("processes %v still serve %s and cannot be stopped", serving(data), data)
}

func allGone(ctx context.Context, data string, wait time.Duration) (bool, error) {
	deadline := time.Now().Add(wait)
	for len(serving(data)) > 0 {
		if time.Now().After(deadline) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("wait for the server that was left on %s: %w", data, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return true, nil
}

// postmaster returns the process that the pid file of a cluster names, or 0.
func postmaster(data string) int {
	text, err := os.ReadFile(filepath.Join(data, pidFile))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}

// removePIDFile removes what a dead server left. Its number may be another
// process's by now, and the server would then refuse to start.
func removePIDFile(data string) error {
	if err := os.Remove(filepath.Join(data, pidFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a stale pid file: %w", err)
	}
	return nil
}
