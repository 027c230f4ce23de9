package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// An identity is who the server's programs run as.
type identity struct {
	name string
	uid  int // who its files belong to, as this process sees it
	gid  int
	attr func() *syscall.SysProcAttr
}

// command prepares a program of the server. It gets a process group of its
// own, so that a ^C in the terminal reaches the owner alone, who then stops
// the server in order.
func (id identity) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = id.attr()
	cmd.SysProcAttr.Setpgid = true
	for _, v := range os.Environ() {
		// PGDATA and the like would change what the programs do, and a server
		// that is built for systemd would call its owner ready.
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "LC_") && !strings.HasPrefix(v, "LANG") && !strings.HasPrefix(v, "NOTIFY_SOCKET=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C")
	return cmd
}

// own gives name, and all that is in it, to the identity. Only root can need
// to, and only when the identity is another one than last time.
func (id identity) own(name string) error {
	if os.Geteuid() != 0 || owner(name) == id.uid {
		return nil
	}
	err := filepath.WalkDir(name, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, id.uid, id.gid)
	})
	if err != nil {
		return fmt.Errorf("give %s to %s: %w", name, id.name, err)
	}
	return nil
}

// owner returns the user that a file belongs to, or -1.
func owner(name string) int {
	info, err := os.Lstat(name)
	if err != nil {
		return -1
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// chooseIdentity returns the first identity that can run the server on dir.
func chooseIdentity(ctx context.Context, bin binaries, dir, data string) (identity, error) {
	if os.Geteuid() != 0 {
		if uid := owner(data); uid >= 0 && uid != os.Geteuid() {
			return identity{}, fmt.Errorf("the cluster in %s belongs to user %d, not to you (user %d): run as that user or choose another folder",
				data, uid, os.Geteuid())
		}
		return plain(), nil
	}
	var failed []error
	for _, id := range rootIdentities(owner(data)) {
		err := id.try(ctx, bin, dir)
		if err == nil {
			return id, nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", id.name, err))
	}
	return identity{}, fmt.Errorf("PostgreSQL does not run as root, and no other way works here; run as an ordinary user, or mend one of these: %w",
		errors.Join(failed...))
}

// try reports why the identity cannot run the server on dir, or nil.
func (id identity) try(ctx context.Context, bin binaries, dir string) error {
	if err := os.Lchown(dir, id.uid, id.gid); err != nil {
		return fmt.Errorf("give it the folder: %w", err)
	}
	cmd := id.command(bin.postgres, "--version")
	cmd.Dir = dir
	if out, err := runUntil(ctx, cmd); err != nil {
		return fmt.Errorf("run %s in %s: %w %s", bin.postgres, dir, err, out)
	}
	return nil
}

// runUntil runs a short program to its end or to that of ctx.
func runUntil(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() {
		// The whole group: initdb has children.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	})
	defer stop()
	err := cmd.Wait()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return strings.TrimSpace(out.String()), err
}

// plain runs the server as ourselves.
func plain() identity {
	return identity{name: "this user", uid: os.Geteuid(), gid: os.Getegid(), attr: deathSignal}
}

// credential runs the server as another user, which only root may.
func credential(name string, uid, gid int) identity {
	return identity{name: "user " + name, uid: uid, gid: gid, attr: func() *syscall.SysProcAttr {
		attr := deathSignal()
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return attr
	}}
}

// rootIdentities lists what root may run the server as, best first: whoever
// the data belongs to, then a namespace, then users made for such things.
func rootIdentities(dataOwner int) []identity {
	var ids []identity
	if dataOwner > 0 {
		if u, err := user.LookupId(strconv.Itoa(dataOwner)); err == nil {
			ids = append(ids, userIdentity(u)...)
		}
	}
	ids = append(ids, namespaces()...)
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			ids = append(ids, userIdentity(u)...)
		}
	}
	return ids
}

func userIdentity(u *user.User) []identity {
	uid, uerr := strconv.Atoi(u.Uid)
	gid, gerr := strconv.Atoi(u.Gid)
	if uerr != nil || gerr != nil || uid == 0 {
		return nil
	}
	return []identity{credential(u.Username, uid, gid)}
}
