package web

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tranship/tranship/coordinator/api"
)

const (
	maxExamined = 4                // stores at once
	examineWait = 25 * time.Second // below what clients wait for an answer
)

var examinationFields = fields{"stores": nil}

// examine answers with what doctor says.
func (s *site) examine(w http.ResponseWriter, r *http.Request) error {
	var in api.Examination
	var f findings
	if err := readBody(r, &in, true, examinationFields, &f); err != nil {
		return err
	}
	if len(in.Stores) > maxExamined {
		f.body("/stores", "names %d stores: ask for at most %d at once", len(in.Stores), maxExamined)
	}
	for i, c := range in.Stores {
		if why := checkURL(c.Store); why != "" {
			f.body(fmt.Sprintf("/stores/%d/store", i), "%s", why)
		}
	}
	if err := f.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), examineWait)
	defer cancel()
	return answerJSON(w, api.CheckList{Checks: s.Examine(ctx, in.Stores)})
}
