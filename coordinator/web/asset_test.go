package web

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

// TestForeignAssets checks that the files of others are those that they are
// said to be, and come with their licence.
func TestForeignAssets(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"uPlot.iife.min.js", "uPlot.min.css"} {
		line := fmt.Sprintf("%x  %s\n", sha256.Sum256(assets[name].body), name)
		if !strings.Contains(string(assets["uPlot.VERSION.txt"].body), line) {
			t.Errorf("uPlot.VERSION.txt does not say %q", line)
		}
	}
	if !strings.Contains(string(assets["uPlot.LICENSE.txt"].body), "MIT") {
		t.Error("the licence of uPlot is missing")
	}
}
