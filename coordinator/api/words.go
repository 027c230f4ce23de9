package api

import (
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/tranship/tranship/internal/work"
)

// Because says in words, after "because", why objects were skipped: what a
// tally of skips names.
func Because(reason string) string {
	switch field := work.Field(reason); {
	case field == work.FieldArchived:
		return "they are archived and must be restored first"
	case field == work.FieldClass:
		return "the target does not have their storage class"
	case field == work.FieldMTime:
		return "the target cannot hold their time of modification"
	case slices.Contains(work.Fields(), field):
		return "the target cannot hold their " + reason
	}
	return "of the same " + reason
}

// StoodThere reports whether a reason for skipping objects is that the target
// held them already.
func StoodThere(reason string) bool {
	return !slices.Contains(work.Fields(), work.Field(reason))
}

// PolicyWords says what becomes of objects under a policy.
func PolicyWords(p work.Policy) string {
	switch p {
	case work.PolicyFail:
		return "such objects fail"
	case work.PolicySkip:
		return "such objects are skipped"
	case work.PolicyDrop:
		return "left behind"
	}
	return string(p)
}

// ProofWords says what a proof rests on. Of a weak one it must be said, too,
// that it verifies nothing.
func ProofWords(proof string) string {
	if proof == "" || proof == work.ProofOfSize {
		return "size only"
	}
	if algo, ok := strings.CutSuffix(proof, work.ProofOfSource); ok {
		return algo + " at the source only"
	}
	if algo, ok := strings.CutSuffix(proof, work.ProofOfTarget); ok {
		return algo + " at the target"
	}
	return proof + " both ends"
}

// Proven says in a sentence how many of a job's copied objects were verified
// and how. No object is called verified whose proof is weak, or is not known.
// It returns "" if nothing was copied.
//
// Objects that were copied by an older version have no proof on record. While
// a job runs its counts and its proofs are read one after the other, so a
// difference means nothing then.
func Proven(j work.Job, proofs []work.Tally) string {
	var sound, weak []string
	var total, verified int64
	for _, p := range proofs {
		total += p.Count
		if work.Weak(p.Name) {
			weak = append(weak, humanize.Comma(p.Count)+" by "+ProofWords(p.Name))
			continue
		}
		verified += p.Count
		sound = append(sound, humanize.Comma(p.Count)+" "+ProofWords(p.Name))
	}
	if rest := j.Copied - total; rest > 0 && !j.State.Open() {
		total += rest
		weak = append(weak, humanize.Comma(rest)+" without a proof on record")
	}
	var parts []string
	switch {
	case total == 0:
		return ""
	case len(sound) == 1:
		_, how, _ := strings.Cut(sound[0], " ")
		parts = append(parts, humanize.Comma(verified)+" verified ("+how+")")
	case len(sound) > 1:
		parts = append(parts, humanize.Comma(verified)+" verified ("+strings.Join(sound, ", ")+")")
	}
	if len(weak) > 0 {
		parts = append(parts, strings.Join(weak, ", ")+": not verified")
	}
	return humanize.Comma(total) + " copied: " + strings.Join(parts, ", ")
}
