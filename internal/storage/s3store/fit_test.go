package s3store

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tranship/tranship/internal/storage"
	"github.com/tranship/tranship/internal/work"
)

// amazon returns a store whose server answers as handler says and is taken for
// Amazon's.
func amazon(t *testing.T, handler http.HandlerFunc) *Store {
	t.Helper()
	s := liar(t, handler)
	s.client.amazon = true
	return s
}

func TestFit(t *testing.T) {
	t.Parallel()
	many := make(map[string]string)
	for i := range 11 {
		many["tag"+strconv.Itoa(i)] = "v"
	}
	at := time.Unix(1_700_000_000, 0)
	user := func(pairs ...string) map[string]string {
		m := make(map[string]string)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	big := strings.Repeat("x", 2040)
	for name, tt := range map[string]struct {
		meta, fit storage.Meta
		lost      []string // field, or field:name
		other     bool     // on a server that is not Amazon's
	}{
		"all fits": {
			meta: storage.Meta{ContentType: "a/b", User: user("a", "größe", "b", ""), Tags: user("K k", "v"), Class: "GLACIER", ModTime: at},
			fit:  storage.Meta{ContentType: "a/b", User: user("a", "größe", "b", ""), Tags: user("K k", "v"), Class: "GLACIER", ModTime: at},
		},
		"split header":     {meta: storage.Meta{ContentType: "a/b\r\nX-Evil: 1", CacheControl: "c"}, fit: storage.Meta{CacheControl: "c"}, lost: []string{"headers:content type"}},
		"padded header":    {meta: storage.Meta{CacheControl: " c "}, lost: []string{"headers:cache control"}},
		"chunked encoding": {meta: storage.Meta{ContentEncoding: "gzip, aws-chunked"}, fit: storage.Meta{ContentEncoding: "gzip"}},
		"user names":       {meta: storage.Meta{User: user("a b", "1", "", "2", "ok", "3")}, fit: storage.Meta{User: user("ok", "3")}, lost: []string{"metadata", "metadata:a b"}},
		"user values":      {meta: storage.Meta{User: user("line", "a\nb", "pad", " a", "bytes", "\xff", "tab", "a\tb")}, fit: storage.Meta{User: user()}, lost: []string{"metadata:bytes", "metadata:line", "metadata:pad", "metadata:tab"}},
		"names in case":    {meta: storage.Meta{User: user("Twice", "1", "twice", "2")}, fit: storage.Meta{User: user("Twice", "1")}, lost: []string{"metadata:twice"}},
		"too much":         {meta: storage.Meta{User: user("a", big, "b", "12345678")}, lost: []string{"metadata"}},
		"no room for time": {meta: storage.Meta{User: user("a", big), ModTime: at}, fit: storage.Meta{User: user("a", big)}, lost: []string{"mtime"}},
		"just enough":      {meta: storage.Meta{User: user("abcdefgh", big)}, fit: storage.Meta{User: user("abcdefgh", big)}},
		"more elsewhere":   {meta: storage.Meta{User: user("a", big+big), ModTime: at}, fit: storage.Meta{User: user("a", big+big), ModTime: at}, other: true},
		"too much as well": {meta: storage.Meta{User: user("a", big+big+big+big)}, lost: []string{"metadata"}, other: true},
		"eleven tags":      {meta: storage.Meta{Tags: many}, lost: []string{"tags"}},
		"long tags": {
			meta: storage.Meta{Tags: user(strings.Repeat("n", 129), "v", "v", strings.Repeat("v", 257), strings.Repeat("ü", 128), strings.Repeat("ü", 256))},
			fit:  storage.Meta{Tags: user(strings.Repeat("ü", 128), strings.Repeat("ü", 256))},
			lost: []string{"tags:" + strings.Repeat("n", 129), "tags:v"},
		},
		"odd tags": {
			meta: storage.Meta{Tags: user("", "v", "a&b", "v", "percent", "1%", "aws:x", "v", "bytes", "\xff", "ok", "+-=._:/@ ")},
			fit:  storage.Meta{Tags: user("ok", "+-=._:/@ ")},
			lost: []string{"tags", "tags:a&b", "tags:aws:x", "tags:bytes", "tags:percent"},
		},
		"class": {meta: storage.Meta{Class: "NO CLASS"}, lost: []string{"class"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := openURL(t, "s3://b?region=us-east-1")
			if tt.other {
				s = openURL(t, "s3://b?endpoint=http://127.0.0.1:1")
			}
			before := reflect.DeepEqual(tt.meta, tt.fit)
			fit, misfits := s.Fit(tt.meta)
			var lost []string
			for _, m := range misfits {
				text := string(m.Field)
				if m.Name != "" {
					text += ":" + m.Name
				}
				lost = append(lost, text)
				if m.Why == "" {
					t.Errorf("no reason is given for %s", text)
				}
			}
			if !reflect.DeepEqual(fit, tt.fit) || !reflect.DeepEqual(lost, tt.lost) {
				t.Errorf("Fit = %.200q without %q; want %.200q without %q", fit, lost, tt.fit, tt.lost)
			}
			if len(tt.lost) > 0 && reflect.DeepEqual(tt.meta, tt.fit) != before {
				t.Error("Fit changed the metadata that it was given")
			}
			err := s.fail("put", "key", s.writeMeta(make(http.Header), tt.meta))
			if (err == nil) != (len(tt.lost) == 0) {
				t.Errorf("writeMeta = %v, want what does not fit refused", err)
			}
			if err != nil {
				wantField(t, "writeMeta", err, work.Field(strings.Split(tt.lost[0], ":")[0]))
			}
		})
	}
}

// wantField wants an error about something of the object that the store cannot
// hold.
func wantField(t *testing.T, what string, err error, want work.Field) {
	t.Helper()
	wantFault(t, what, err, work.Unsupported)
	if e, ok := err.(*storage.Error); ok && e.Field != want {
		t.Errorf("%s = %v about %q, want %q", what, err, e.Field, want)
	}
}

// TestMailCoding sees that Amazon's, which takes headers for Latin-1, gets the
// form that it hands out itself.
func TestMailCoding(t *testing.T) {
	t.Parallel()
	var stored http.Header
	s := amazon(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			stored = r.Header.Clone()
			return
		}
		for name, values := range stored {
			if strings.HasPrefix(name, metaPrefix) {
				w.Header()[name] = values
			}
		}
		w.Header().Set("Content-Length", "1")
		w.Header().Set("X-Amz-Meta-Quoted", "=?UTF-8?Q?=C3=84_b?=")
		w.Header().Set("X-Amz-Meta-Literal", "=?UTF-8?Q?x?=")
	})
	put(t, s, "key", "x", storage.PutOptions{Meta: storage.Meta{User: map[string]string{
		"umlaut": "größe", "plain": "a b", "literal": "=?UTF-8?Q?x?=",
	}}})
	if got := stored.Get("X-Amz-Meta-Literal"); got != "=?UTF-8?B?PT9VVEYtOD9RP3g/PQ==?=" {
		t.Errorf("the server got %q for what looks coded", got)
	}
	if got := stored.Get("X-Amz-Meta-Umlaut"); got != "=?UTF-8?B?Z3LDtsOfZQ==?=" {
		t.Errorf("the server got %q", got)
	}
	in, err := s.Stat(t.Context(), "key")
	want := map[string]string{"umlaut": "größe", "plain": "a b", "quoted": "Ä b", "literal": "=?UTF-8?Q?x?="}
	if err != nil || !reflect.DeepEqual(in.Meta.User, want) {
		t.Errorf("Stat says %q, %v; want %q", in.Meta.User, err, want)
	}
}
