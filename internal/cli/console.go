package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/term"
)

// clearLine moves to the begin of the terminal's line and clears it.
const clearLine = "\r\x1b[K"

// A console is standard error: lines of talk and of logs and, on a terminal,
// a few lines below them that are rewritten in place. It is safe for concurrent
// use, because logs come from everywhere.
type console struct {
	w    io.Writer
	live bool // w is a terminal

	mu    sync.Mutex
	below []string // lines that stand below everything
}

func newConsole(w io.Writer) *console { return &console{w: w, live: isTerminal(w)} }

// Write writes whole lines above the live ones.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.below) == 0 {
		return c.w.Write(b)
	}
	if _, err := io.WriteString(c.w, c.clear()); err != nil {
		return 0, err
	}
	n, err := c.w.Write(b)
	if err != nil {
		return n, err
	}
	_, err = io.WriteString(c.w, strings.Join(c.below, "\n"))
	return n, err
}

// setLines replaces the live lines; none takes them away. What the terminal has
// no room for is left out: what has scrolled away cannot be rewritten.
func (c *console) setLines(lines ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	width, height := c.size()
	lines = slices.Clone(lines[:min(len(lines), max(height-1, 1))])
	for i := range lines {
		lines[i] = clip(lines[i], width)
	}
	if slices.Equal(lines, c.below) {
		return
	}
	// An error of the terminal shows in the next line of talk.
	_, _ = io.WriteString(c.w, c.clear()+strings.Join(lines, "\n"))
	c.below = lines
}

// clear returns what takes the live lines away.
func (c *console) clear() string {
	if len(c.below) < 2 {
		return clearLine
	}
	return fmt.Sprintf("\r\x1b[%dA\x1b[J", len(c.below)-1)
}

// size returns the columns and lines of the terminal, 80 and 24 if they are not
// known.
func (c *console) size() (width, height int) {
	if f, ok := c.w.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return 80, 24
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
