package pgserver

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// largestLog is the size at which a log is put aside at the next start.
const largestLog = 16 << 20

// openLog opens the server's log to append to it and says how long it is.
func openLog(dir string) (*os.File, int64, error) {
	name := filepath.Join(dir, "postgres.log")
	if info, err := os.Stat(name); err == nil && info.Size() > largestLog {
		if err := os.Rename(name, name+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, 0, fmt.Errorf("put the old log aside: %w", err)
		}
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("open the server's log: %w", err)
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open the server's log: %w", err), f.Close())
	}
	return f, end, nil
}

// logTail returns the end of what the server logged since from.
func logTail(dir string, from int64) string {
	const most = 4 << 10
	f, err := os.Open(filepath.Join(dir, "postgres.log"))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		from = max(from, info.Size()-most)
	}
	text, err := io.ReadAll(io.NewSectionReader(f, from, most))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}
