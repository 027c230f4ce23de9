package cli

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// clearLine moves to the begin of the terminal's line and clears it.
const clearLine = "\r\x1b[K"

// A console is standard error: lines of talk and of logs and, on a terminal,
// one line below them that is rewritten in place. It is safe for concurrent
// use, because logs come from everywhere.
type console struct {
	w    io.Writer
	live bool // w is a terminal

	mu   sync.Mutex
	line string // that stands below everything; "" if none
}

func newConsole(w io.Writer) *console { return &console{w: w, live: isTerminal(w)} }

// Write writes whole lines above the live line.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line == "" {
		return c.w.Write(b)
	}
	if _, err := io.WriteString(c.w, clearLine); err != nil {
		return 0, err
	}
	n, err := c.w.Write(b)
	if err != nil {
		return n, err
	}
	_, err = io.WriteString(c.w, c.line)
	return n, err
}

// setLine replaces the live line; "" takes it away.
func (c *console) setLine(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s = clip(s, c.width())
	if s == c.line {
		return
	}
	// An error of the terminal shows in the next line of talk.
	_, _ = io.WriteString(c.w, clearLine+s)
	c.line = s
}

// width returns the columns of the terminal, 80 if they are not known.
func (c *console) width() int {
	if f, ok := c.w.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return 80
}

// clip shortens a line, so that the terminal does not wrap it: what is
// wrapped cannot be rewritten.
func clip(s string, width int) string {
	r := []rune(s)
	if len(r) < width {
		return s
	}
	return string(r[:max(width-2, 0)]) + "…"
}
