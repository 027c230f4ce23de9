package web

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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
const browserTimeout = 5 * time.Minute

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

func TestBrowser(t *testing.T) {
	browser := chromium(t)
	t.Run("live", func(t *testing.T) { testLive(t, browser) })
	t.Run("buttons", func(t *testing.T) { testButtons(t, browser, false) })
	t.Run("without scripts", func(t *testing.T) { testButtons(t, browser, true) })
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
	if page := html(); !strings.Contains(page, "151,210") || !strings.Contains(page, "tranship job retry 7 --fault denied") ||
		!strings.Contains(page, `aria-label="Bytes per second: 112 MiB/s`) {
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
