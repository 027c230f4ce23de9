// What scripts add to a page that works without them: it stays up to date, and
// commands can be copied with one press.
//
// The live stream says that something has changed, not what to show: the page
// then fetches itself and puts the parts marked data-live in place, so that the
// server's templates stay the only place where things are formatted.
'use strict';
(() => {
  const gentle = 2000;   // ms between two refreshes, however much happens
  const idle = 30000;    // ms after which times like "3 min ago" are stale
  const link = document.getElementById('link');
  const said = document.getElementById('said');

  // ── copying ──
  function showCopy(root) {
    if (!navigator.clipboard) return; // a page of another machine over http
    for (const b of root.querySelectorAll('.copy')) b.hidden = false;
  }
  document.addEventListener('click', async (e) => {
    const b = e.target.closest('.copy');
    if (!b) return;
    try {
      await navigator.clipboard.writeText(b.dataset.copy);
      said.textContent = 'Copied';
      b.firstChild.textContent = 'Copied';
      setTimeout(() => { b.firstChild.textContent = 'Copy'; }, 1500);
    } catch {
      said.textContent = 'Not copied: the browser does not allow it';
    }
  });
  showCopy(document);

  // ── staying up to date ──
  const source = document.body.dataset.stream;
  if (!source || !window.EventSource) return;

  let stream = null;  // open while the page can be seen
  let timer = 0;      // of the next refresh
  let last = 0;       // when the last one began
  let busy = false;
  let again = false;  // something changed while a refresh was under way

  function status(text, lost) {
    link.hidden = false;
    link.textContent = text;
    link.classList.toggle('lost', lost);
  }

  function soon() {
    if (timer) clearTimeout(timer);
    timer = setTimeout(refresh, Math.max(0, last + gentle - Date.now()));
  }

  function later() {
    if (timer) clearTimeout(timer);
    timer = setTimeout(refresh, idle);
  }

  async function refresh() {
    timer = 0;
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    last = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: 'text/html' }, cache: 'no-store' });
      if (answer.redirected) location.reload(); // the session is over: sign in
      else if (answer.ok) apply(new DOMParser().parseFromString(await answer.text(), 'text/html'));
    } catch {
      // The stream notices that the server is gone, says so, and comes back.
    } finally {
      busy = false;
      if (stream && again) soon();
      else if (stream && !timer) later();
      again = false;
    }
  }

  // apply puts the new page's live parts in place of the old ones, without
  // taking away what the reader has in hand: focus, opened details, a selection.
  function apply(page) {
    for (const now of page.querySelectorAll('[data-live]')) {
      const old = document.getElementById(now.id);
      if (!old || selecting(old)) continue;
      showCopy(now);
      for (const d of old.querySelectorAll('details[open][id]')) {
        const same = now.querySelector('#' + CSS.escape(d.id));
        if (same) same.open = true;
      }
      if (old.isEqualNode(now)) continue;
      if (now.dataset.say && now.dataset.say !== old.dataset.say) said.textContent = now.dataset.say;
      const focus = old.contains(document.activeElement) ? where(old, document.activeElement) : null;
      old.replaceWith(document.adoptNode(now));
      const same = focus && now.querySelector(focus);
      if (same) same.focus({ preventScroll: true });
    }
    const stamp = page.querySelector('footer time');
    if (stamp) document.querySelector('footer time').replaceWith(document.adoptNode(stamp));
  }

  // where returns a selector that finds an element again in the new part.
  function where(part, e) {
    if (e.id) return '#' + CSS.escape(e.id);
    const href = e.getAttribute('href');
    if (href) return 'a[href="' + CSS.escape(href) + '"]';
    if (e.dataset.copy) return '[data-copy="' + CSS.escape(e.dataset.copy) + '"]';
    const details = e.closest('details[id]');
    return details ? '#' + CSS.escape(details.id) + ' > summary' : '';
  }

  function selecting(part) {
    const s = getSelection();
    return s && !s.isCollapsed && s.containsNode(part, true);
  }

  function open() {
    if (stream) return;
    stream = new EventSource(source);
    stream.onopen = () => { status('live', false); soon(); };
    stream.onerror = () => {
      status('reconnecting…', true);
      if (stream.readyState !== EventSource.CLOSED) return; // the browser tries again
      close();
      refresh();
      setTimeout(() => { if (!document.hidden) open(); }, 10000);
    };
    for (const type of ['event', 'job', 'agents']) stream.addEventListener(type, soon);
  }

  function close() {
    if (stream) stream.close();
    stream = null;
    if (timer) clearTimeout(timer);
    timer = 0;
  }

  // A hidden page holds no connection: browsers allow few to one server.
  document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()));
  addEventListener('pagehide', close);
  addEventListener('pageshow', () => { if (!document.hidden) open(); });
  open();
})();
