//go:build !linux

package pgserver

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// deathSignal is nothing where the kernel has no such thing: the next Start
// stops what was left.
func deathSignal() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

// namespaces returns nothing where there are none.
func namespaces() []identity { return nil }

// serving returns the process of the server that runs on the cluster in data,
// as far as its pid file knows it. Process ids are taken again, so the name of
// the process is looked at as well.
func serving(data string) []int {
	pid := postmaster(data)
	if pid == 0 {
		return nil
	}
	name, err := exec.Command("ps", "-p", strconv.Itoa(pid), "-o", "comm=").Output()
	if err != nil || !strings.Contains(string(name), "postgres") {
		return nil
	}
	return []int{pid}
}
