package work

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// MaxWindows bounds how many windows a limit may have.
const MaxWindows = 50

// At returns the rate that holds at a moment; stop means that nothing moves.
func (l *Limit) At(t time.Time) (r Rate, stop bool) {
	for _, w := range l.Windows {
		if w.Holds(t) {
			if w.Stop {
				return Rate{}, true
			}
			return w.Rate, false
		}
	}
	return l.Rate, false
}

// Holds reports whether the moment lies in the window. It goes by what the
// clocks of its zone show: a window in an hour that is left out in spring is
// empty on that day, and one in an hour that is repeated in autumn holds twice.
func (w *Window) Holds(t time.Time) bool {
	from, ok1 := minutes(w.From)
	until, ok2 := minutes(w.Until)
	loc, err := time.LoadLocation(w.Zone)
	if err != nil || !ok1 || !ok2 {
		return false
	}
	t = t.In(loc)
	now, today := t.Hour()*60+t.Minute(), t.Weekday()
	if until > from {
		return w.begins(today) && from <= now && now < until
	}
	yesterday := (today + 6) % 7
	return w.begins(today) && from <= now || w.begins(yesterday) && now < until
}

func (w *Window) begins(day time.Weekday) bool {
	return len(w.Days) == 0 || slices.Contains(w.Days, day)
}

var clockSyntax = regexp.MustCompile(`^([0-9]{2}):([0-9]{2})$`)

// minutes reads a time of day as minutes since midnight.
func minutes(clock string) (int, bool) {
	m := clockSyntax.FindStringSubmatch(clock)
	if m == nil {
		return 0, false
	}
	h, _ := strconv.Atoi(m[1])   // two digits
	min, _ := strconv.Atoi(m[2]) // two digits
	all := h*60 + min
	return all, min < 60 && all <= 24*60
}

func checkWindows(windows []Window) error {
	if len(windows) > MaxWindows {
		return fmt.Errorf("windows: there are %d, and there may be %d", len(windows), MaxWindows)
	}
	for i, w := range windows {
		if err := w.check(); err != nil {
			return fmt.Errorf("window %d: %w", i+1, err)
		}
	}
	return nil
}

func (w *Window) check() error {
	from, ok := minutes(w.From)
	if !ok || from == 24*60 {
		return fmt.Errorf("from %q: give a time of day such as 22:00", w.From)
	}
	if _, ok := minutes(w.Until); !ok {
		return fmt.Errorf("until %q: give a time of day such as 06:00, or 24:00", w.Until)
	}
	for _, d := range w.Days {
		if d < time.Sunday || d > time.Saturday {
			return fmt.Errorf("day %d: give 0 for Sunday to 6 for Saturday", d)
		}
	}
	if _, err := time.LoadLocation(w.Zone); err != nil || w.Zone == "Local" {
		return fmt.Errorf("zone %q is not known: give one such as Europe/Berlin, or none for UTC", w.Zone)
	}
	if w.Stop && w.Rate != (Rate{}) {
		return errors.New("it stops everything and yet has a rate")
	}
	return w.Rate.check()
}
