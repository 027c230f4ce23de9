package work

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dayNames are how days are written, from Sunday.
var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseWindow reads [DAYS] FROM-UNTIL [ZONE] WHAT. Whether its times and its zone
// can be is for Limit.Check to say.
func ParseWindow(s string) (w Window, err error) {
	words := strings.Fields(s)
	if len(words) > 0 && !strings.Contains(words[0], ":") {
		if w.Days, err = parseDays(words[0]); err != nil {
			return w, err
		}
		words = words[1:]
	}
	if len(words) < 2 {
		return w, errors.New("it needs its times and what may pass then")
	}
	var ok bool
	if w.From, w.Until, ok = strings.Cut(words[0], "-"); !ok {
		return w, fmt.Errorf("%q is no stretch of time", words[0])
	}
	if words = words[1:]; len(words) > 1 && isZone(words[0]) {
		w.Zone, words = words[0], words[1:]
	}
	return w, parseAllowed(words, &w)
}

// isZone reports whether a word is the name of a time zone, not a rate.
func isZone(s string) bool {
	return s != "" && (s[0] < '0' || s[0] > '9') && s != "stop" && s != "unlimited"
}

func parseDays(s string) (days []time.Weekday, err error) {
	day := func(name string) (int, error) {
		i := slices.Index(dayNames, strings.ToLower(name))
		if i < 0 {
			return 0, fmt.Errorf("%q is no day: write mon, mon-fri or sat,sun", name)
		}
		return i, nil
	}
	for _, some := range strings.Split(s, ",") {
		first, last, isRange := strings.Cut(some, "-")
		if !isRange {
			last = first
		}
		from, err := day(first)
		if err != nil {
			return nil, err
		}
		upto, err := day(last)
		if err != nil {
			return nil, err
		}
		for d := from; ; d = (d + 1) % len(dayNames) {
			if !slices.Contains(days, time.Weekday(d)) {
				days = append(days, time.Weekday(d))
			}
			if d == upto {
				break
			}
		}
	}
	return days, nil
}

// parseAllowed reads what may pass in a window.
func parseAllowed(words []string, w *Window) (err error) {
	if len(words) == 1 && (words[0] == "stop" || words[0] == "unlimited") {
		w.Stop = words[0] == "stop"
		return nil
	}
	for _, word := range words {
		if number, ok := strings.CutSuffix(word, "req"); ok {
			if w.Requests, err = strconv.ParseFloat(number, 64); err != nil {
				return fmt.Errorf("%q is no number of requests: write for example 50req", word)
			}
			continue
		}
		if w.Bytes, err = ParseSize(word); err != nil {
			return err
		}
	}
	return nil
}

// String returns the form that ParseWindow reads.
func (w Window) String() string {
	var words []string
	if len(w.Days) > 0 {
		words = append(words, daysText(w.Days))
	}
	words = append(words, w.From+"-"+w.Until)
	if w.Zone != "" {
		words = append(words, w.Zone)
	}
	if w.Stop {
		return strings.Join(append(words, "stop"), " ")
	}
	if w.Rate == (Rate{}) {
		return strings.Join(append(words, "unlimited"), " ")
	}
	if w.Bytes != 0 {
		words = append(words, SizeText(w.Bytes))
	}
	if w.Requests != 0 {
		words = append(words, strconv.FormatFloat(w.Requests, 'f', -1, 64)+"req")
	}
	return strings.Join(words, " ")
}

// daysText writes days, three and more in a row as a range.
func daysText(days []time.Weekday) string {
	var parts []string
	for i := 0; i < len(days); {
		last := i
		for last+1 < len(days) && days[last+1] == (days[last]+1)%7 {
			last++
		}
		if last < i+2 {
			last = i
			parts = append(parts, dayNames[days[i]])
		} else {
			parts = append(parts, dayNames[days[i]]+"-"+dayNames[days[last]])
		}
		i = last + 1
	}
	return strings.Join(parts, ",")
}
