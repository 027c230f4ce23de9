package api

import (
	"encoding/base64"
	"fmt"

	"github.com/tranship/tranship/internal/work"
)

// Key64 returns a key as key64 holds it, for where its bytes cannot stand.
func Key64(key string) string { return base64.StdEncoding.EncodeToString([]byte(key)) }

// TriedWords says what an attempt was at.
func TriedWords(a work.Attempt) string {
	switch {
	case a.Kind == work.Part:
		return fmt.Sprintf("part %d", a.N)
	case a.Kind == work.Scan && a.Range != nil && a.Range.After != "":
		return "scan after " + work.Quote(a.Range.After)
	}
	return string(a.Kind)
}

// BecameWords says in one word what became of an attempt.
func BecameWords(a work.Attempt) string {
	if a.Outcome != "" {
		return string(a.Outcome)
	}
	return string(a.State)
}
