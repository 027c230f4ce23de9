package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A victim is a process that faults happen to.
type victim struct {
	kind         string
	kill         func(down time.Duration) // ends it, and starts it again after down
	freeze, thaw func()

	hit sync.Mutex // held during a fault
}

// A storm is faults that come at random, some while others last.
type storm struct {
	t       testing.TB
	rnd     *rand.Rand
	victims []*victim
	faults  sync.WaitGroup

	mu     sync.Mutex
	counts map[string]int // guarded by mu
}

// newStorm makes a storm over every process of the fleet, whose daemons are
// from now on started again when they end, as systemd does.
func newStorm(t testing.TB, f *fleet, seed uint64) *storm {
	s := &storm{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), counts: map[string]int{}}
	add := func(kind string, d *daemon) {
		d.supervise(t)
		s.victims = append(s.victims, &victim{kind: kind, freeze: d.freeze, thaw: d.thaw, kill: func(down time.Duration) {
			d.killFor(down)
			time.Sleep(down)
		}})
	}
	for _, a := range f.agents {
		add("agent", a)
	}
	add("coordinator", f.coordinator)
	if f.second != nil {
		add("coordinator", f.second)
	}
	if f.queue != nil {
		add("queue", f.queue.daemon)
	}
	s.victims = append(s.victims, postgresVictim(t, f))
	t.Cleanup(s.faults.Wait) // nobody is left frozen
	return s
}

// postgresVictim is Postgres with all its processes.
func postgresVictim(t testing.TB, f *fleet) *victim {
	signal := func(s syscall.Signal) {
		for _, pid := range family(f.postgres.PID()) {
			_ = syscall.Kill(pid, s) // a child may have ended
		}
	}
	return &victim{
		kind:   "postgres",
		freeze: func() { signal(syscall.SIGSTOP) },
		thaw:   func() { signal(syscall.SIGCONT) },
		kill: func(down time.Duration) {
			_ = syscall.Kill(f.postgres.PID(), syscall.SIGKILL) // it runs, and is ours
			<-f.postgres.Done()
			_ = f.postgres.Stop() // gives up the folder; that it was killed is what it says
			time.Sleep(down)
			if err := f.openPostgres(); err != nil {
				t.Errorf("start Postgres again: %v", err)
			}
		},
	}
}

// rage lets faults come for so long, each kind to each victim at least once,
// and returns when the last is over.
func (s *storm) rage(length time.Duration) {
	end := time.Now().Add(length)
	for first := true; first || time.Now().Before(end); first = false {
		for _, n := range s.rnd.Perm(2 * len(s.victims)) {
			v, freeze := s.victims[n/2], n%2 == 0
			down, frozen, pause := s.upTo(3*time.Second), s.upTo(3*lease), s.upTo(3*time.Second)
			v.hit.Lock() // of the fault before
			s.faults.Go(func() {
				defer v.hit.Unlock()
				if !freeze {
					s.count(v.kind + "_killed")
					v.kill(down)
					return
				}
				s.count(v.kind + "_frozen")
				if frozen > lease {
					s.count("beyond_lease")
				}
				v.freeze()
				time.Sleep(frozen)
				v.thaw()
			})
			time.Sleep(pause)
			if !first && time.Now().After(end) {
				break
			}
		}
	}
	s.faults.Wait()
}

func (s *storm) upTo(d time.Duration) time.Duration {
	return time.Duration(s.rnd.Int64N(int64(d)))
}

func (s *storm) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

// print prints how many faults there were.
func (s *storm) print() {
	var pairs []any
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		pairs = append(pairs, what, s.counts[what])
	}
	figures(s.t, pairs...)
}

// A recovery is how long a fleet took after the last fault.
type recovery struct {
	healed time.Time
	moved  time.Duration // until an item was closed; negative: none was open
}

// newRecovery waits until a fleet that was healed at this moment moves again,
// or has nothing more to move.
func newRecovery(f *fleet) recovery {
	const closed = "SELECT count(*) FROM tranship.items WHERE state IN ('done', 'dead')"
	const open = "SELECT count(*) FROM tranship.jobs WHERE state = 'running'"
	r := recovery{healed: time.Now(), moved: -1}
	for before := int64(-1); time.Since(r.healed) < 5*time.Minute; time.Sleep(20 * time.Millisecond) {
		switch now := f.number(closed); {
		case now < 0: // Postgres does not answer yet
		case before < 0:
			before = now
		case now > before:
			r.moved = time.Since(r.healed)
			return r
		case f.number(open) == 0:
			return r
		}
	}
	return r
}

func (r recovery) print(t testing.TB) {
	t.Helper()
	figures(t, "moved_again_after", seconds(r.moved), "ended_after", seconds(time.Since(r.healed)))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
