package proxy

import (
	"bytes"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A Fault deals with a request. To have it answered as if nothing were wrong it
// hands it to onward.
type Fault func(w http.ResponseWriter, r *http.Request, onward http.Handler)

// Refuse answers with a status, and asks to be left alone for so many seconds,
// if that is not 0.
func Refuse(status, retryAfter int) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		}
		w.WriteHeader(status)
	}
}

// Share strikes a share of the requests, from 0 to 1.
func Share(share float64, f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, onward http.Handler) {
		if rand.Float64() < share {
			f(w, r, onward)
			return
		}
		onward.ServeHTTP(w, r)
	}
}

// First strikes the first n requests of each method for each path.
func First(n int, f Fault) Fault {
	var mu sync.Mutex
	seen := map[string]int{}
	return func(w http.ResponseWriter, r *http.Request, onward http.Handler) {
		mu.Lock()
		id := r.Method + r.URL.Path
		seen[id]++
		strikes := seen[id] <= n
		mu.Unlock()
		if strikes {
			f(w, r, onward)
			return
		}
		onward.ServeHTTP(w, r)
	}
}

// Late passes a request on after a while.
func Late(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, onward http.Handler) {
		select {
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		case <-time.After(d):
		}
		onward.ServeHTTP(w, r)
	}
}

// StallAnswer sends n bytes of an answer's body, and then nothing more.
func StallAnswer(n int64) Fault {
	return limited(n, func(r *http.Request) { <-r.Context().Done() })
}

// CutAnswer sends n bytes of an answer's body and breaks the connection.
func CutAnswer(n int64) Fault { return limited(n, func(*http.Request) {}) }

// limited sends n bytes of a body, waits and breaks the connection.
func limited(n int64, wait func(*http.Request)) Fault {
	return func(w http.ResponseWriter, r *http.Request, onward http.Handler) {
		onward.ServeHTTP(&paced{ResponseWriter: w, write: func(b []byte) (int, error) {
			m, err := w.Write(b[:min(n, int64(len(b)))])
			if n -= int64(m); n > 0 || err != nil {
				return m, err
			}
			flush(w)
			wait(r)
			panic(http.ErrAbortHandler)
		}}, r)
	}
}

// DripAnswer sends so many bytes of a body at once, and waits after each.
func DripAnswer(n int, wait time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, onward http.Handler) {
		onward.ServeHTTP(&paced{ResponseWriter: w, write: func(b []byte) (sent int, err error) {
			for sent < len(b) && err == nil {
				var m int
				m, err = w.Write(b[sent:min(sent+n, len(b))])
				sent += m
				flush(w)
				select {
				case <-r.Context().Done():
					panic(http.ErrAbortHandler)
				case <-time.After(wait):
				}
			}
			return sent, err
		}}, r)
	}
}

// A paced writer decides how a body is written.
type paced struct {
	http.ResponseWriter
	write func([]byte) (int, error)
}

// Write implements io.Writer.
func (p *paced) Write(b []byte) (int, error) { return p.write(b) }

func flush(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush() // who has gone gets nothing
}

// StallBody takes n bytes of a request's body, and then nothing more.
func StallBody(n int64) Fault {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.CopyN(io.Discard, r.Body, n) // as far as there are any
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// CutBody takes n bytes of a request's body and breaks the connection.
func CutBody(n int64) Fault {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.CopyN(io.Discard, r.Body, n) // as far as there are any
		panic(http.ErrAbortHandler)
	}
}

// Swallow has a request done, and breaks the connection in the place of the
// answer.
func Swallow(_ http.ResponseWriter, r *http.Request, onward http.Handler) {
	onward.ServeHTTP(newRecorder(), r)
	panic(http.ErrAbortHandler)
}

// Rewrite changes the bodies of answers that are a success.
func Rewrite(change func(r *http.Request, body []byte) []byte) Fault {
	return func(w http.ResponseWriter, r *http.Request, onward http.Handler) {
		rec := newRecorder()
		onward.ServeHTTP(rec, r)
		body := rec.body.Bytes()
		if rec.status == http.StatusOK {
			body = change(r, body)
		}
		maps.Copy(w.Header(), rec.header)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(rec.status)
		_, _ = w.Write(body) // who has gone gets nothing
	}
}

// A recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, status: http.StatusOK} }

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) { r.status = status }

// Write implements io.Writer.
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
