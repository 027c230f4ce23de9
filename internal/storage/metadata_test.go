package storage

import (
	"testing"
	"time"
)

func TestMTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"0":                    time.Unix(0, 0),
		"1354040105":           time.Unix(1354040105, 0),
		"1354040105.123456789": time.Unix(1354040105, 123456789),
		"1354040105.5":         time.Unix(1354040105, 500_000_000),
		"-1.5":                 time.Unix(-2, 500_000_000),
		"-1":                   time.Unix(-1, 0),
		"-0.25":                time.Unix(-1, 750_000_000),
	} {
		if got := FormatMTime(want); got != text {
			t.Errorf("FormatMTime(%v) = %s, want %s", want, got, text)
		}
		if got, ok := ReadMTime(text); !ok || !got.Equal(want) {
			t.Errorf("ReadMTime(%s) = %v, %v; want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "x", "1.x", "1.-5", "1e9", "1.1234567890", "."} {
		if got, ok := ReadMTime(text); ok {
			t.Errorf("ReadMTime(%q) = %v", text, got)
		}
	}
}
