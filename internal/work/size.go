package work

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// sizeUnits are the units that SizeText uses, largest first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
}

// ParseSize reads a number of bytes with or without a unit, such as 64MiB.
func ParseSize(s string) (int64, error) {
	v, err := humanize.ParseBytes(strings.TrimSpace(s))
	if err != nil || v > math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a size; write for example 64MiB", s)
	}
	return int64(v), nil
}

// SizeText returns the form that ParseSize reads, in the largest binary unit
// that is exact.
func SizeText(n int64) string {
	for _, u := range sizeUnits {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
