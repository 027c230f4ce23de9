package storage

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MTime is the user metadata that holds the modification time of the content
// in stores that have no other place for it, in seconds since 1970 with a
// fraction: the custom of rclone and others.
//
// A value that would be written back with the same text becomes Meta.ModTime
// and is not in Meta.User; any other stays where it is. So copies keep it,
// whatever the two stores are, and none changes it.
const MTime = "mtime"

// ReadMTime reads the value of MTime, if it is in the form that FormatMTime
// writes.
func ReadMTime(value string) (time.Time, bool) {
	t, ok := parseTime(value)
	return t, ok && FormatMTime(t) == value
}

// FormatMTime writes a time as seconds since 1970, with as many decimals as it
// needs.
func FormatMTime(t time.Time) string {
	sec, nsec, sign := t.Unix(), int64(t.Nanosecond()), ""
	if sec < 0 {
		sign, sec = "-", -sec
		if nsec > 0 {
			sec, nsec = sec-1, int64(time.Second)-nsec
		}
	}
	s := sign + strconv.FormatInt(sec, 10)
	if nsec != 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%09d", nsec), "0")
	}
	return s
}

// parseTime reads seconds with a fraction.
func parseTime(s string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(fraction) > 9 {
		return time.Time{}, false
	}
	nsec, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil || nsec < 0 {
		return time.Time{}, false
	}
	if strings.HasPrefix(whole, "-") {
		nsec = -nsec
	}
	return time.Unix(sec, nsec).UTC(), true
}

// IsToken reports whether s can be part of a header's name.
func IsToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
