package cli

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// readWithin returns what a file of a folder holds. Root reads folders of other
// users, so a link that leads out of the folder is not followed: it could name
// what only root may read.
func readWithin(dir, name string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.ReadFile(name)
}

// replaceFile writes a file that its owner alone may read, whole or not at all.
// Where root writes into the folder of another user, the file is that user's.
// Whoever owns the folder may change it meanwhile, so nothing but the file that
// is made here, by its descriptor, is written or given away.
func replaceFile(path string, b []byte) (err error) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	folder, err := root.Open(".")
	if err != nil {
		return err
	}
	defer folder.Close()
	name := filepath.Base(path)
	draft := name + "." + rand.Text()
	f, err := root.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(draft) // the error says what matters
		}
	}()
	_, err = f.Write(b)
	if err = errors.Join(err, ownAs(f, folder), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := root.Rename(draft, name); err != nil {
		return err
	}
	return folder.Sync() // makes the rename outlive the machine
}

// ownAs gives a file to the owner of a folder, if this process may.
func ownAs(f, folder *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	of, err := folder.Stat()
	if err != nil {
		return err
	}
	owner, ok := of.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}
