package web

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/tranship/tranship/internal/work"
)

// browserTimeout is generous: the machine may be busy.
const browserTimeout = 90 * time.Second

// chromium starts the browser that is installed, or skips the test.
func chromium(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no browser on PATH: install chromium")
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync",
		"disable-dev-shm-usage", "hide-scrollbars"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// A tab is a page of the browser and what it complained about.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu        sync.Mutex
	complains []string
}

// open opens a tab of a size and colour scheme.
func (b *bench) open(t *testing.T, browser context.Context, width, height int64, scheme string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, browserTimeout)
	t.Cleanup(cancel)
	tb := &tab{t: t, ctx: ctx, base: b.base}
	if err := chromedp.Listen(ctx, tb.listen); err != nil {
		t.Fatal(err)
	}
	tb.do(chromedp.EmulateViewport(width, height))
	call(tb, network.Enable, network.EnableParams{})
	call(tb, cdplog.Enable, cdp.Empty{})
	call(tb, runtime.Enable, cdp.Empty{})
	call(tb, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	t.Cleanup(func() {
		tb.mu.Lock()
		defer tb.mu.Unlock()
		for _, c := range tb.complains {
			t.Errorf("the browser complains: %s", c)
		}
	})
	return tb
}

func (tb *tab) listen(ev any) {
	note := ""
	switch ev := ev.(type) {
	case *runtime.EventConsoleAPICalled:
		note = fmt.Sprintf("console %s: %v", ev.Type, ev.Args)
	case *runtime.EventExceptionThrown:
		note = fmt.Sprintf("exception: %+v", ev.ExceptionDetails)
	case *cdplog.EventEntryAdded:
		note = fmt.Sprintf("%s: %s %s", ev.Entry.Source, ev.Entry.Text, ev.Entry.URL)
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(ev.Request.URL, tb.base+"/") {
			note = "a request to elsewhere: " + ev.Request.URL
		}
	}
	if note != "" {
		tb.mu.Lock()
		tb.complains = append(tb.complains, note)
		tb.mu.Unlock()
	}
}

// call runs a command of the DevTools protocol.
func call[P, R any](tb *tab, cmd cdp.Command[P, R], params P) {
	tb.t.Helper()
	if _, err := chromedp.Call(tb.ctx, cmd, params); err != nil {
		tb.t.Fatalf("%s: %v", cmd.Method, err)
	}
}

func (tb *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	if err := chromedp.Do(tb.ctx, actions...); err != nil {
		tb.t.Fatal(err)
	}
}

// get runs an action and returns its value.
func get[T any](tb *tab, action chromedp.Action[T]) T {
	tb.t.Helper()
	v, err := chromedp.Run(tb.ctx, action)
	if err != nil {
		tb.t.Fatal(err)
	}
	return v
}

func (tb *tab) visit(path string) {
	tb.t.Helper()
	tb.do(chromedp.Navigate(tb.base+path), chromedp.WaitReady(chromedp.CSS("main")))
}

// shows checks that an element shows every one of some texts.
func (tb *tab) shows(selector string, texts ...string) {
	tb.t.Helper()
	got := strings.Join(strings.Fields(get(tb, chromedp.Text(chromedp.CSS(selector)))), " ")
	for _, want := range texts {
		if !strings.Contains(got, want) {
			tb.t.Errorf("%s shows %q, want %q in it", selector, got, want)
		}
	}
}

// shoot keeps a picture of the whole page if a folder for them is given.
func (tb *tab) shoot(name string) {
	tb.t.Helper()
	dir := os.Getenv("TRANSHIP_SCREENSHOTS")
	if dir == "" {
		return
	}
	png := get(tb, chromedp.FullScreenshot(100))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		tb.t.Fatal(err)
	}
}

// fits checks that the page is not wider than its window.
func (tb *tab) fits() {
	tb.t.Helper()
	over := get(tb, chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`))
	if over > 0 {
		tb.t.Errorf("the page is %d pixels wider than its window", over)
	}
}

// contrast finds texts whose contrast with their ground is below 4.5.
const contrast = `(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (c) => { canvas.clearRect(0,0,1,1); canvas.fillStyle = c; canvas.fillRect(0,0,1,1); return [...canvas.getImageData(0,0,1,1).data]; };
  const lum = ([r,g,b]) => { const f = (v) => (v /= 255) <= 0.03928 ? v/12.92 : ((v+0.055)/1.055)**2.4; return 0.2126*f(r)+0.7152*f(g)+0.0722*f(b); };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] > 250) return c; } return [255,255,255]; };
  const poor = new Set();
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || e.closest('.sr')) continue;
    const a = lum(rgba(getComputedStyle(e).color)), b = lum(ground(e));
    const ratio = (Math.max(a,b)+0.05)/(Math.min(a,b)+0.05);
    if (ratio < 4.5) poor.add(e.className + ' ' + e.tagName + ' ' + ratio.toFixed(2) + ' ' + e.textContent.trim().slice(0,30));
  }
  return [...poor];
})()`

// unnamed finds controls and images that have no name for a screen reader.
const unnamed = `[...document.querySelectorAll('a,button,input:not([type=hidden]),select,progress,svg[role=img],nav')]
  .filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).map((e) => e.outerHTML)`

func TestBrowser(t *testing.T) {
	browser := chromium(t)
	b := serve(t, atWork())
	type page struct{ name, path, part, want string }
	pages := []page{
		{"overview", "/", "#open", "product images"},
		{"job", "/jobs/7", "#counters", "250,000 planned = 151,210 copied + 12,400 skipped + 37 failed + 86,353 open"},
		{"job-report", "/jobs/7", "#report", "What the target cannot hold"},
		{"objects", "/jobs/7/objects", "main", `"bad\x00\xff"`},
		{"jobs", "/jobs", "#jobs", "archive-2019"},
		{"job-incomplete", "/jobs/4", "#progress", "91,214"},
		{"job-failed", "/jobs/2", "#head", "folder is not there"},
		{"failures", "/jobs/7/failures", "main", `"eu/\u202egpj.exe#3"`},
		{"attempts", "/jobs/7/attempts?key=bad%00key%FF%232", "main", "part 3: put originals"},
		{"agents", "/agents", "#agents", "the credentials have expired"},
		{"problems", "/problems", "main", "idempotency_key_reused"},
	}
	for _, look := range []struct {
		name, scheme  string
		width, height int64
		pages         []page
	}{{"light", "light", 1280, 900, pages}, {"dark", "dark", 1280, 900, pages[:3]}, {"phone", "light", 390, 844, pages[:3]}} {
		t.Run(look.name, func(t *testing.T) {
			tb := b.open(t, browser, look.width, look.height, look.scheme)
			for _, page := range look.pages {
				tb.visit(page.path)
				tb.shows(page.part, page.want)
				tb.fits()
				poor := get(tb, chromedp.Evaluate[[]string](contrast))
				nameless := get(tb, chromedp.Evaluate[[]string](unnamed))
				if len(poor)+len(nameless) > 0 {
					t.Errorf("%s: hard to read %q, without a name %q", page.path, poor, nameless)
				}
				tb.shoot(page.name + "-" + look.name)
			}
		})
	}
	t.Run("empty", func(t *testing.T) {
		none := serve(t, newFake())
		tb := none.open(t, browser, 1280, 900, "light")
		tb.visit("/")
		tb.shows("main", "No job yet", "tranship copy", "No agent has reported")
		tb.shoot("overview-empty")
	})
	t.Run("live", func(t *testing.T) { testLive(t, browser) })
	t.Run("buttons", func(t *testing.T) { testButtons(t, browser, false) })
	t.Run("without scripts", func(t *testing.T) { testButtons(t, browser, true) })
	t.Run("errors", func(t *testing.T) {
		tb := b.open(t, browser, 1280, 900, "light")
		tb.visit("/jobs/999")
		tb.shows("main", "There is no such job", "tranship job ls", "no_job")
		tb.shoot("not-found")
		tb.mu.Lock()
		defer tb.mu.Unlock()
		tb.complains = slices.DeleteFunc(tb.complains, func(c string) bool { return strings.Contains(c, "404") })
	})
}

// testLive changes a job and waits for the page to show it, without a reload.
func testLive(t *testing.T, browser context.Context) {
	b := serve(t, atWork())
	tb := b.open(t, browser, 1280, 900, "light")
	for _, page := range []struct{ path, part string }{{"/jobs/7", "#counters"}, {"/", "#open"}} {
		tb.visit(page.path)
		tb.do(chromedp.WaitVisible(chromedp.CSS("#link")))
		get(tb, chromedp.Evaluate[bool](`document.querySelector('#cancel summary, #open a').focus(), window.sameDocument = true`))
		var copied int64
		b.fake.change(7, func(j *work.Job) {
			j.Copied, j.Open = j.Copied+5000, j.Open-5000
			copied = j.Copied + j.Skipped + j.Failed
		})
		want := comma(copied)
		if page.part == "#counters" {
			want = comma(copied - 12437)
		}
		get(tb, chromedp.Poll[bool](fmt.Sprintf(`document.querySelector(%q).textContent.includes(%q)`, page.part, want),
			chromedp.WithPollingTimeout(browserTimeout)))
		if !get(tb, chromedp.Evaluate[bool](`window.sameDocument === true && document.activeElement !== document.body`)) {
			t.Errorf("%s was loaded again, or took the focus away", page.path)
		}
		tb.shows("#link", "live")
	}
	// Someone else pauses the job: the page says so, to eyes and to ears.
	tb.visit("/jobs/7")
	tb.do(chromedp.WaitVisible(chromedp.CSS("#link")))
	if _, err := b.fake.Pause(t.Context(), 7, "grace@laptop"); err != nil {
		t.Fatal(err)
	}
	tb.do(chromedp.WaitVisible(chromedp.CSS("#do-resume")))
	tb.shows("#said", "Job 7 is paused")
	tb.shows("#events", "grace@laptop")
}

// testButtons pauses, resumes, retries and cancels a job by the page's forms.
func testButtons(t *testing.T, browser context.Context, noScripts bool) {
	b := serve(t, atWork())
	tb := b.open(t, browser, 1280, 900, "dark")
	if noScripts {
		call(tb, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	}
	html := func() string {
		t.Helper()
		return get(tb, chromedp.OuterHTML(chromedp.CSS("html")))
	}
	press := func(selector string, done func() bool) {
		t.Helper()
		tb.do(chromedp.Focus(chromedp.CSS(selector), chromedp.NodeReady), chromedp.KeyEvent("\r"))
		for deadline := time.Now().Add(browserTimeout / 2); !done(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s did nothing: %s", selector, b.log)
			}
		}
		tb.do(chromedp.WaitReady(chromedp.CSS("#main")))
	}
	state := func(want work.JobState) func() bool {
		return func() bool {
			j, err := b.fake.Job(t.Context(), 7)
			return err == nil && j.State == want
		}
	}
	tb.do(chromedp.Navigate(b.base + "/jobs/7"))
	if page := html(); !strings.Contains(page, "151,210") || !strings.Contains(page, "tranship job retry 7 --fault denied") {
		t.Errorf("the page does not say how the job stands:\n%s", page)
	}
	press("#do-pause", state(work.Paused))
	press("#do-resume", state(work.Running))
	press("#do-retry-denied", func() bool {
		j, err := b.fake.Job(t.Context(), 7)
		return err == nil && j.Failed == 7
	})
	press("#cancel summary", func() bool { return strings.Contains(html(), `<details id="cancel" open="">`) })
	press("#do-cancel", state(work.Canceled))
	for range 100 {
		if strings.Contains(html(), "Job 7 is canceled") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if page := html(); !strings.Contains(page, "Job 7 is canceled") || strings.Contains(page, "do-pause") {
		t.Errorf("the page does not say that the job is canceled:\n%s", page)
	}
	events, err := b.fake.Events(t.Context(), 7, 0, 100)
	if err != nil || events[len(events)-1].Who != onPage {
		t.Errorf("the audit log does not say that it was done on the page: %+v, %v", events, err)
	}
}
