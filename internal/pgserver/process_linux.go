package pgserver

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// deathSignal asks the kernel to shut the child down, in order, when the
// thread that started it dies.
func deathSignal() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
}

// namespaces returns the identity of root in a user namespace in which it has
// another number. The files stay root's.
func namespaces() []identity {
	inside := 65534
	// initdb wants a name for the number it runs as.
	for _, name := range []string{"postgres", "nobody", "daemon"} {
		if u, err := user.Lookup(name); err == nil {
			if uid, err := strconv.Atoi(u.Uid); err == nil && uid != 0 {
				inside = uid
				break
			}
		}
	}
	return []identity{{
		name: "root in a user namespace", uid: os.Geteuid(), gid: os.Getegid(),
		attr: func() *syscall.SysProcAttr {
			attr := deathSignal()
			attr.Cloneflags = syscall.CLONE_NEWUSER
			attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: inside, HostID: os.Geteuid(), Size: 1}}
			attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: inside, HostID: os.Getegid(), Size: 1}}
			return attr
		},
	}}
}

// serving lists the processes of servers that run on the cluster in data: each
// has it as its working folder. Process ids are taken again, so the name of a
// process is looked at as well.
func serving(data string) []int {
	want, err := os.Stat(data)
	if err != nil {
		return nil
	}
	procs, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, p := range procs {
		cwd, err := os.Stat(p + "/cwd")
		if err != nil || !os.SameFile(cwd, want) {
			continue
		}
		name, err := os.ReadFile(p + "/comm")
		if err != nil || !strings.HasPrefix(string(name), "postgres") && !strings.HasPrefix(string(name), "postmaster") {
			continue
		}
		if state, err := os.ReadFile(p + "/stat"); err != nil || zombie(string(state)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(p)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// zombie reads the state from /proc/<pid>/stat, behind the name in brackets.
func zombie(stat string) bool {
	i := strings.LastIndexByte(stat, ')')
	return i >= 0 && strings.HasPrefix(stat[i+1:], " Z")
}
