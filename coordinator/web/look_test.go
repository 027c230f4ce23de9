package web

import (
	"bytes"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// allPages are all that the status page has, each with something it must show.
var allPages = []struct{ name, path, part, want string }{
	{"overview", "/", "#open", "product images"},
	{"job", "/jobs/7", "#counters", "250,000 planned = 151,210 copied + 12,400 skipped + 37 failed + 86,353 open"},
	{"job-parts", "/jobs/7?prefix=eu/2025/&span=all", "#parts", "212 more"},
	{"job-waiting", "/jobs/6", "#workers", "waits for an agent"},
	{"job-incomplete", "/jobs/4", "#progress", "91,214"},
	{"job-failed", "/jobs/2", "#head", "folder is not there"},
	{"objects", "/jobs/7/objects", "main", `"bad\x00\xff"`},
	{"jobs", "/jobs", "#jobs", "archive-2019"},
	{"jobs-none", "/jobs?text=nowhere", "#jobs", "is like this"},
	{"failures", "/jobs/7/failures", "main", `"eu/\u202egpj.exe#3"`},
	{"attempts", "/jobs/7/attempts?key=bad%00key%FF%232", "main", "part 3: put originals"},
	{"agents", "/agents", "#agents", "the credentials have expired"},
	{"agent", "/agents/aws-eu-west-1/hub-1", "#tuning", "the target throttles"},
	{"agent-silent", "/agents/gcp-europe-west4/west-1", "#head", "last heard from"},
	{"search", "/search", "main", "Search"},
	{"search-found", "/search?q=eu/00&match=begins", "main", "crc32c"},
	{"problems", "/problems", "main", "idempotency_key_reused"},
	{"settings", "/settings", "#limits", "gcp-europe-west4/west-1"},
	{"settings-audit", "/settings/audit", "#audit", "203.0.113.7"},
	{"agent-joined", "/agents/aws-eu-west-1/hub-1", "#actions", "Revoke"},
	{"agent-revoked", "/agents/gcp-europe-west4/west-2", "#head", "shut out of the fleet"},
	{"agent-unseen", "/agents/gcp-europe-west4/west-3", "#head", "never heard from"},
	{"job-awaiting", "/jobs/8", "#workers", "It waits for an agent"},
}

// looks are the ways in which every page is looked at; the first two show each
// page light and dark, wide and narrow, and the others are for those who wait.
var looks = []struct {
	name, scheme  string
	width, height int64
}{
	{"light-1280", "light", 1280, 900}, {"dark-390", "dark", 390, 844},
	{"dark-1280", "dark", 1280, 900}, {"light-390", "light", 390, 844},
}

// TestLooks shows every page in every look: nothing is wider than the window,
// nothing moves by itself, axe finds nothing, the browser complains about
// nothing, and the pictures hold something.
func TestLooks(t *testing.T) {
	browser := chromium(t)
	checker := axe(t)
	b, none, closed := serve(t, governed()), serve(t, newFake()), guard(t, atWork())
	some := looks
	if os.Getenv("TRANSHIP_LONG") != "1" {
		some = looks[:2]
	}
	for _, look := range some {
		t.Run(look.name, func(t *testing.T) {
			tb := b.open(t, browser, look.width, look.height, look.scheme)
			for _, page := range allPages {
				tb.visit(page.path)
				tb.shows(page.part, page.want)
				if page.name == "job" {
					tb.await(`document.querySelectorAll('#plots canvas').length == 4`)
				}
				tb.looks(page.name+"-"+look.name, checker)
			}
			tb.visit("/settings")
			tb.do(chromedp.SendKeys(chromedp.CSS("#invite-site"), "west"), chromedp.Click(chromedp.CSS("#do-invite")), chromedp.WaitVisible(chromedp.CSS("#told")))
			tb.shows("#told", "tranship fleet join --server https://hub --token tsj_x", "beware")
			tb.looks("settings-told-"+look.name, checker)
			tb.visit("/jobs/999")
			tb.shows("main", "There is no such job", "tranship job ls", "no_job")
			tb.looks("not-found-"+look.name, checker)
			tb.forgive("404")
			tb = none.open(t, browser, look.width, look.height, look.scheme)
			tb.visit("/")
			tb.shows("main", "No job yet", "tranship copy", "No agent has reported")
			tb.looks("overview-empty-"+look.name, checker)
			tb = closed.open(t, browser, look.width, look.height, look.scheme)
			tb.visit("/jobs/7") // nobody is signed in
			tb.shows("main", "Sign in")
			tb.looks("login-"+look.name, checker)
		})
	}
	t.Run("spoilt", func(t *testing.T) { // what the checks must see
		tb := b.open(t, browser, 390, 844, "light")
		tb.visit("/problems")
		get(tb, chromedp.Evaluate[bool](`document.querySelector('main').insertAdjacentHTML('beforeend',
			'<img src="/assets/icon.svg"><button></button><h5>Too pale and too deep</h5><pre>'+'x'.repeat(500)),
			document.querySelector('h5').style.color = '#ccc', true`))
		if found := tb.violations(checker); len(found) < 4 {
			t.Errorf("of an image and a button without a name, a heading out of order and pale text axe finds %d: %q", len(found), found)
		}
		if tb.over() <= 0 {
			t.Error("a page that is too wide is not seen to be")
		}
	})
}

// looks checks the page that is shown.
func (tb *tab) looks(name, checker string) {
	tb.t.Helper()
	if over := tb.over(); over > 0 {
		tb.t.Errorf("%s is %d pixels wider than its window", name, over)
	}
	if n := get(tb, chromedp.Evaluate[int](`document.getAnimations().length`)); n > 0 {
		tb.t.Errorf("%s: %d things move by themselves", name, n)
	}
	tb.shoot(name)
	for _, f := range tb.violations(checker) {
		tb.t.Errorf("%s is not accessible: %s", name, f)
	}
}

// over returns by how many pixels the page is wider than its window.
func (tb *tab) over() int {
	tb.t.Helper()
	return get(tb, chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`))
}

// forgive forgets complaints that were meant to come.
func (tb *tab) forgive(about string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.complains = slices.DeleteFunc(tb.complains, func(c string) bool { return strings.Contains(c, about) })
}

// violations returns what axe finds wrong with the page.
func (tb *tab) violations(checker string) []string {
	tb.t.Helper()
	// From outside of the page, whose policy allows only its own scripts.
	get(tb, chromedp.Evaluate[bool](checker+`; true`))
	return get(tb, chromedp.Evaluate[[]string](`axe.run(document, {resultTypes: ['violations'], runOnly: {type: 'tag', values:
		['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}}).then((r) =>
		r.violations.flatMap((v) => v.nodes.map((n) => v.id + ': ' + n.html.slice(0, 160) + ' ' + n.failureSummary)))`, chromedp.EvalAwaitPromise))
}

// await waits until a condition holds on the page.
func (tb *tab) await(condition string) {
	tb.t.Helper()
	get(tb, chromedp.Poll[bool](condition, chromedp.WithPollingTimeout(browserTimeout)))
}

// shoot takes a picture of the whole page, which must not be blank, and keeps it
// in the folder given for them.
func (tb *tab) shoot(name string) {
	tb.t.Helper()
	shot := get(tb, chromedp.FullScreenshot(100))
	dir := os.Getenv("TRANSHIP_SCREENSHOTS")
	if dir == "" {
		dir = tb.t.TempDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644); err != nil {
		tb.t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		tb.t.Fatal(err)
	}
	colours := map[color.Color]bool{}
	size := picture.Bounds()
	for y := size.Min.Y; y < size.Max.Y; y += 3 {
		for x := size.Min.X; x < size.Max.X; x += 3 {
			colours[picture.At(x, y)] = true
		}
	}
	if len(colours) < 20 || size.Dy() < 400 {
		tb.t.Errorf("the picture %s has %d colours and is %d pixels high", name, len(colours), size.Dy())
	}
}

// TestKeyboard goes through a page by the tabulator alone: every control is
// reached, in the order of the page, and it is seen where one is.
func TestKeyboard(t *testing.T) {
	browser := chromium(t)
	b := serve(t, governed())
	tb := b.open(t, browser, 1280, 900, "light")
	for _, path := range []string{"/jobs/7", "/jobs", "/agents", "/search?q=eu", "/settings"} {
		tb.visit(path)
		if path == "/jobs/7" {
			tb.await(`!document.querySelector('#plots').hidden`)
		}
		const controls = `[...document.querySelectorAll('a[href],button,input:not([type=hidden]),select,textarea,summary')].filter((e) => e.checkVisibility())`
		n := get(tb, chromedp.Evaluate[int](controls+`.length`))
		for i := range n {
			tb.do(chromedp.KeyEvent("\t"))
			got := get(tb, chromedp.Evaluate[struct {
				At      int
				Seen    bool
				Element string
			}](`(() => {
				const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
				return {At: `+controls+`.indexOf(e), Element: e.outerHTML.slice(0, 100),
					Seen: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 && r.width > 0 && r.left >= 0 && r.bottom > 0 && r.top < innerHeight};
			})()`))
			if got.At != i || !got.Seen {
				t.Errorf("%s: the tabulator's step %d leads to control %d, seen: %v: %s", path, i, got.At, got.Seen, got.Element)
				break
			}
		}
	}
	tb.visit("/jobs/7")
	tb.do(chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
	if at := get(tb, chromedp.Evaluate[string](`document.activeElement.id`)); at != "main" {
		t.Errorf("the first control leads to %q, want the content", at)
	}
}

// TestCharts changes what the charts are drawn in, and what lies under the
// pointer.
func TestCharts(t *testing.T) {
	browser := chromium(t)
	b := serve(t, atWork())
	tb := b.open(t, browser, 1280, 900, "light")
	tb.visit("/jobs/7?span=24h")
	tb.await(`document.querySelectorAll('#plots canvas').length == 4`)
	tb.shows("#plots", "Bytes per second", "Objects per second", "Share of objects given up", "Remaining objects", "112 MiB/s on average")
	get(tb, chromedp.Evaluate[bool](`(window.before = document.querySelector('#plots canvas').toDataURL()).length > 0`))
	call(tb, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
	tb.await(`document.querySelector('#plots canvas').toDataURL() !== window.before`)
	get(tb, chromedp.Evaluate[bool](`(() => {
		const over = document.querySelector('#plots .u-over'), r = over.getBoundingClientRect();
		for (const type of ['mouseenter', 'mousemove']) over.dispatchEvent(new MouseEvent(type, {clientX: r.left + r.width / 2, clientY: r.top + 20, bubbles: true}));
		return true;
	})()`))
	tb.await(`/^[0-9.]+ MiB\/s at 2026-01-05 11:[0-9:]+ UTC$/.test(document.querySelector('#plots [data-chart=bytes] .hint').textContent)
		&& /at 2026-01-05/.test(document.querySelector('#plots [data-chart=left] .hint').textContent)`)
	if name := get(tb, chromedp.Evaluate[string](`document.querySelector('#plots [role=img]').getAttribute('aria-label')`)); !strings.HasPrefix(name, "Bytes per second: 112 MiB/s") {
		t.Errorf("the first chart is called %q", name)
	}
	rows := get(tb, chromedp.Evaluate[int](`document.querySelectorAll('#speed-table tbody tr').length`))
	if rows != tableSteps {
		t.Errorf("the charts' table has %d rows", rows)
	}
}
