package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/tranship/tranship/coordinator/api"
	"github.com/tranship/tranship/internal/work"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// pages are the templates by the name of their file, each with the layout.
var pages = parsePages()

// assets are the files that pages refer to, by name.
var assets = readAssets()

func parsePages() map[string]*template.Template {
	base := template.Must(template.New("").Funcs(template.FuncMap{
		"comma": comma, "bytes": bytesText, "rate": rateText, "persecond": perSecond, "percent": percentText,
		"clean": clean, "key": keyText, "asset": assetURL,
		"because": api.Because, "policy": api.PolicyWords, "proof": api.ProofWords, "weak": work.Weak,
	}).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html"))
	all := map[string]*template.Template{}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is ours
	}
	for _, name := range names {
		all[path.Base(name)] = template.Must(template.Must(base.Clone()).ParseFS(templateFiles, name))
	}
	return all
}

// A file is an asset; its address holds its hash, so that it can be kept for
// ever and a new program is never shown with an old one's files.
type file struct {
	body []byte
	hash string
}

func readAssets() map[string]file {
	all := map[string]file{}
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, e := range entries {
		b, err := assetFiles.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(b)
		all[e.Name()] = file{b, hex.EncodeToString(sum[:6])}
	}
	return all
}

func assetURL(name string) (string, error) {
	f, ok := assets[name]
	if !ok {
		return "", fmt.Errorf("no asset %q", name)
	}
	return "/assets/" + name + "?v=" + f.hash, nil
}

func (s *site) asset(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	f, ok := assets[name]
	if !ok {
		return api.NewProblem(api.NotFound, "")
	}
	if r.URL.Query().Get("v") == f.hash {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(f.body))
	return nil
}

// A view is what the layout shows around a page.
type view struct {
	Title   string
	Nav     string // which entry of the navigation is this page
	Stream  string // live stream that tells when the page changes; empty: it does not
	Moving  bool   // without scripts, the page is to load itself again
	Version string
	Base    string      // where the browser reaches the site
	Caller  work.Caller // who looks
	At      moment
	Page    any
}

// render sends a page. It is made whole before any of it is sent, so that an
// error can still be answered as one.
func (s *site) render(w http.ResponseWriter, r *http.Request, status int, name string, v view) error {
	v.Version, v.Base, v.At = s.Version, s.base(r), when(s.now(), s.now())
	v.Caller = work.CallerOf(r.Context())
	var b bytes.Buffer
	if err := pages[name].ExecuteTemplate(&b, "layout", v); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

// problemPage shows a person what went wrong.
func (s *site) problemPage(w http.ResponseWriter, r *http.Request, p *api.Problem) {
	err := s.render(w, r, p.Status, "problem.html", view{Title: p.Title, Page: p})
	if err != nil {
		s.Log.ErrorContext(r.Context(), "problem not shown", about(r), "err", err)
	}
}

// problemsPage explains every code; the type of a problem points here.
func (s *site) problemsPage(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, r, http.StatusOK, "problems.html", view{Title: "Errors of the API", Page: api.Codes()})
}
