// Package sim runs jobs in a simulated world, thousands of them, and holds the
// product to its promises in each.
//
// What decides and remembers is real: dispatching, collecting, reconciling,
// planning and the ledger's rules. What they work with is not: the queue, the
// stores, the agents, the users and the clocks are small models that live in
// one goroutine and take their turns as one seeded generator says. So a seed
// is a story that can be told again, step by step.
//
//	          ┌──────────── world: one generator, one clock ───────────┐
//	users ───▶│ coordinators c1, c2: the real parts, behind a gate     │
//	          │     │ ▲           that refuses, forgets to answer,     │
//	          │     ▼ │           kills or lets others go first        │
//	          │  ledger.Memory, or Postgres                            │
//	          │  queue: lost, repeated, reordered, late, restored      │
//	nature ──▶│  agents a1 … a3: die, freeze and come back, drain      │
//	          │  source and target: change, fail, forget to answer     │
//	          └────────────────────────────────────────────────────────┘
//
// A story has two parts. First everything may go wrong. Then nothing does any
// more, and the job must come to its end within a bounded number of steps.
//
// What is checked on the way (guard_test.go): a result is acknowledged only
// when it was recorded, a failure of an old epoch decides nothing, a success of
// any epoch does, nothing of a canceled job is decided on, what the queue
// refused is released, and nothing is taken for lost while results wait.
//
// What is checked at the end (oracle_test.go): the balance holds and equals what
// the oracle counts, every object has one outcome and it is true, nothing is
// open, and no upload that the ledger was told of is left at the target.
//
// The agents here do what package agent promises; that it keeps that is for its
// own tests and for internal/e2e.
//
// A failure prints its seed and the last events. TRANSHIP_SEED repeats one,
// TRANSHIP_SEEDS says how many to run, TRANSHIP_LONG=1 runs many and
// re-introduces mistakes, each of which must be caught (mistakes_test.go).
package sim
