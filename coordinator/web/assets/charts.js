// Charts that can be read closely, drawn by uPlot from the job's samples. They
// take the place of those that the server drew, whose names and words they keep.
'use strict';
(() => {
  const plots = document.getElementById('plots');
  if (!plots || !window.uPlot) return;

  const gentle = 10000; // ms between two readings of the samples
  const height = 160;
  const kinds = ['bytes', 'objects', 'failed', 'left'];
  const colours = { bytes: '--accent', objects: '--accent', failed: '--bad', left: '--good' };

  let charts = {};  // of uPlot, by kind
  let data = null;  // what they show: moments and a list of values by kind
  let last = 0;     // when the samples were read

  // ── words ──
  function bytes(v) {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
    let i = 0;
    while (v >= 1024 && i < units.length - 1) {
      v /= 1024;
      i++;
    }
    return (v >= 10 || v === Math.round(v) ? Math.round(v) : v.toFixed(1)) + ' ' + units[i];
  }
  const number = (v) => (v > 0 && v < 10 && v !== Math.round(v) ? v.toFixed(1) : Math.round(v).toLocaleString('en-US'));
  const texts = {
    bytes: (v) => bytes(v) + '/s',
    objects: (v) => number(v) + '/s',
    failed: (v) => (v > 0 && v < 0.1 ? '<0.1' : Number(v.toFixed(1))) + '%',
    left: number,
  };
  const two = (n) => String(n).padStart(2, '0');
  const clock = (d) => two(d.getUTCHours()) + ':' + two(d.getUTCMinutes());
  const day = (d) => two(d.getUTCMonth() + 1) + '-' + two(d.getUTCDate());
  const stamp = (t) => {
    const d = new Date(t * 1000);
    return d.getUTCFullYear() + '-' + day(d) + ' ' + clock(d) + ':' + two(d.getUTCSeconds()) + ' UTC';
  };

  // moments labels the time axis in UTC, like everything else on the page.
  function moments(_, splits, __, ___, step) {
    let before = '';
    return splits.map((t) => {
      const d = new Date(t * 1000);
      const date = day(d);
      const text = step >= 86400 ? date : clock(d) + (step < 60 ? ':' + two(d.getUTCSeconds()) : '');
      const first = date !== before;
      before = date;
      return first && step < 86400 ? text + '\n' + date : text;
    });
  }

  // ── values ──
  function read(samples, planned) {
    const d = { at: [], bytes: [], objects: [], failed: [], left: [] };
    for (let i = 1; i < samples.length; i++) {
      const a = samples[i - 1], b = samples[i];
      const began = Date.parse(a.at) / 1000, ended = Date.parse(b.at) / 1000;
      if (!(ended > began)) continue;
      const objects = Math.max(0, b.objects - a.objects); // a retry takes failures back
      const failed = Math.max(0, b.failed - a.failed);
      d.at.push(ended);
      d.bytes.push(Math.max(0, b.bytes - a.bytes) / (ended - began));
      d.objects.push(objects / (ended - began));
      d.failed.push(objects > 0 ? Math.min(100, 100 * failed / objects) : 0);
      d.left.push(Math.max(0, planned - b.objects));
    }
    return d;
  }

  // ── drawing ──
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const powers = [...Array(60).keys()].map((n) => 2 ** n);

  function options(kind, width, says) {
    const ink = colour(colours[kind]);
    const line = { stroke: colour('--soft'), font: '11px system-ui, sans-serif', grid: { stroke: colour('--line'), width: 1 },
      ticks: { stroke: colour('--line'), width: 1, size: 4 } };
    const axis = { ...line, size: 64, space: 28, values: (_, splits) => splits.map(texts[kind]) };
    if (kind === 'bytes') axis.incrs = powers;
    if (kind === 'left') axis.incrs = powers.map((_, n) => [1, 2, 5][n % 3] * 10 ** Math.floor(n / 3));
    return {
      width, height,
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, sync: { key: 'job' }, points: { size: 6 } },
      scales: { x: { time: true }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.05 : 1] } },
      axes: [{ ...line, values: moments, space: 70, size: 36 }, axis],
      series: [{}, { stroke: ink, fill: ink + '22', width: 1.5, points: { show: false } }],
      hooks: { setCursor: [(u) => tell(u, kind, says)] },
    };
  }

  // tell says beneath the chart what lies under the pointer.
  function tell(u, kind, says) {
    const i = u.cursor.idx;
    const hint = u.root.closest('figure').querySelector('.hint');
    hint.textContent = i == null ? says() : texts[kind](u.data[1][i]) + ' at ' + stamp(u.data[0][i]);
  }

  // figure returns the place of a chart, and makes it if there is none.
  function figure(kind) {
    const found = plots.querySelector('[data-chart="' + kind + '"]');
    if (found) return found;
    const f = document.createElement('figure');
    f.dataset.chart = kind;
    f.append(document.createElement('figcaption'), document.createElement('div'), document.createElement('p'));
    f.children[1].setAttribute('role', 'img');
    f.children[2].className = 'hint';
    plots.append(f);
    return f;
  }

  function draw() {
    const speed = document.getElementById('speed');
    const shown = data && data.at.length > 1 && speed.querySelector('figure');
    plots.hidden = !shown;
    speed.classList.toggle('plotted', !!shown);
    if (!shown) return;
    for (const kind of kinds) {
      const words = () => document.querySelector('#speed [data-chart="' + kind + '"]');
      if (!words()) continue;
      const f = figure(kind);
      const says = () => words().querySelector('.hint').textContent;
      f.children[0].textContent = words().querySelector('figcaption').textContent;
      f.children[1].setAttribute('aria-label', words().querySelector('svg').getAttribute('aria-label'));
      const values = [data.at, data[kind]];
      if (charts[kind]) {
        charts[kind].setData(values);
      } else {
        f.children[2].textContent = says();
        charts[kind] = new uPlot(options(kind, f.children[1].clientWidth, says), values, f.children[1]);
      }
      if (charts[kind].cursor.idx == null) f.children[2].textContent = says();
    }
  }

  // again draws everything anew, in the colours that hold now.
  function again() {
    for (const kind of Object.keys(charts)) charts[kind].destroy();
    charts = {};
    draw();
  }

  async function refresh(soon) {
    if (!soon && Date.now() - last < gentle) {
      draw(); // the words beneath may have changed
      return;
    }
    last = Date.now();
    const { series, planned } = document.getElementById('speed').dataset;
    try {
      const answer = await fetch(series, { headers: { Accept: 'application/json' }, cache: 'no-store' });
      if (!answer.ok) return; // what the server drew stays
      data = read((await answer.json()).samples, Number(planned));
    } catch {
      return; // live.js notices that the server is gone
    }
    draw();
  }

  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
  new ResizeObserver(() => {
    for (const kind of Object.keys(charts)) {
      const width = charts[kind].root.parentElement.clientWidth;
      if (width > 0 && width !== charts[kind].width) charts[kind].setSize({ width, height });
    }
  }).observe(document.querySelector('main'));
  document.addEventListener('refreshed', () => refresh(false));
  refresh(true);
})();
