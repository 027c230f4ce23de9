package work

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// ownNames are what those call themselves at the queue that are no agents. An
// agent of that name could read the answers that are for them.
var ownNames = []string{"admin", "coordinator", "doctor", "tranship", "viewer"}

// CheckAgent reports why an agent cannot be called s, or nil if it can.
func CheckAgent(s string) error {
	if slices.Contains(ownNames, strings.ToLower(s)) {
		return fmt.Errorf("agent %q: another part of the fleet is called so; choose another name", s)
	}
	return CheckName("agent", s)
}

// Limits of what an agent's operator says of it.
const (
	maxLabels    = 16
	maxLabelName = 40
	maxLabel     = 100
)

// CheckLabels reports why the labels of an agent cannot be these, or nil if
// they can.
func CheckLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return fmt.Errorf("%d labels are more than the %d that an agent may have", len(labels), maxLabels)
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		switch value := labels[name]; {
		case name == "" || len(name) > maxLabelName || !printable(name):
			return fmt.Errorf("label %q: a name is 1 to %d bytes of text", name, maxLabelName)
		case len(value) > maxLabel || !printable(value):
			return fmt.Errorf("label %s: %q is not a text of up to %d bytes", name, value, maxLabel)
		}
	}
	return nil
}

// printable reports whether s is text that moves no cursor.
func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0
}
