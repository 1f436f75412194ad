// The frame: navigation, search, who is signed in, whether the line holds, and what was just done.
import {html, useEffect, useRef, useState} from 'teknav/vendor/preact.js';
import {Proof, Question} from 'teknav/js/dialog.js';
import {useSeconds} from 'teknav/js/clock.js';
import {span} from 'teknav/js/format.js';
import {Icon} from 'teknav/js/icons.js';
import {at} from 'teknav/js/site.js';

const ROOT = '/dashboard/owner';
const PLACES = [
  ['queues', 'Queues', 'layers', 'q'],
  ['dlq', 'Dead letters', 'inbox', 'd'],
  ['replays', 'Replays', 'rotate-ccw', 'r'],
  ['workers', 'Workers', 'server', 'w'],
  ['alerts', 'Alerts', 'bell', 'a'],
  ['reports', 'Reports', 'file-chart-column', 'p'],
  ['audit', 'Audit', 'scroll-text', 'u'],
];

export function Shell({client, children}) {
  const {shell = {}, outage} = client.slots;
  const [question, setQuestion] = useState(null);
  const search = useRef(null);
  client.confirm = (asked) => new Promise((resolve) => setQuestion({...asked, resolve}));
  const main = useRef(null);
  // The place a fragment would name is inside a shadow root, where browsers do not look.
  const skip = (event) => { event.preventDefault(); main.current.focus(); main.current.scrollIntoView(); };
  const [proof, setProof] = useState(null);
  client.confirmIdentity = (way) => new Promise((resolve) => setProof({way, resolve}));
  const proved = (yes) => { proof.resolve(yes); setProof(null); };
  const answer = (yes) => { question.resolve(yes); setQuestion(null); };
  useKeys(search);
  return html`
    <a class="skip" href="#main" onClick=${skip}>To the content</a>
    <header>
      <a class="brand" href=${`${ROOT}/queues`}><${Icon} name="activity" size=${18} /> TekNav ops</a>
      <nav class="places" aria-label="Places">${PLACES.map(([key, text, icon, letter]) => html`
        <a key=${key} href=${`${ROOT}/${key}`} title=${`${text} (g ${letter})`} aria-current=${shell.place === key ? 'page' : undefined}>
          <${Icon} name=${icon} /> <span>${text}</span>
          ${key === 'alerts' && shell.alertCount > 0 && html`<span class="number bad">${shell.alertCount}</span>`}</a>`)}</nav>
      <${Find} client=${client} field=${search} />
      <${Theme} />
      <${Viewer} client=${client} viewer=${shell.viewer} />
    </header>
    ${client.isLost && html`<div class="banner bad" role="alert"><${Icon} name="triangle-alert" /> The connection is lost. This page comes back by itself as soon as the server answers.</div>`}
    ${!client.isLost && outage && html`<${Outage} outage=${outage} />`}
    ${shell.notice && html`<div class="banner warn" role="status"><${Icon} name="triangle-alert" /> ${shell.notice}</div>`}
    <main id="main" ref=${main} tabindex="-1" class=${outage || client.isLost ? 'old' : ''}>
      <${Crumbs} crumbs=${shell.crumbs ?? []} />
      ${shell.limits && html`<p class="limits faint"><${Icon} name="info" size=${12} /> ${shell.limits}</p>`}
      ${children}
    </main>
    <div class="toasts" role="status" aria-live="polite">${client.toasts.map((toast) => html`
      <div key=${toast.id} class=${`toast ${toast.tone ?? ''}`}><span dir="auto">${toast.text}</span>
        ${toast.undo && html`<button type="button" class="button" onClick=${() => { client.dismiss(toast.id); client.ask(toast.undo.action, toast.undo.args); }}>Undo</button>`}
        <button type="button" class="quiet" title="Dismiss" onClick=${() => client.dismiss(toast.id)}><${Icon} name="x" /></button></div>`)}</div>
    ${question && html`<${Question} question=${question} onAnswer=${answer} />`}
    ${proof && html`<${Proof} client=${client} way=${proof.way} name=${shell.viewer?.name} onDone=${proved} />`}`;
}

/** Redis or the database is away: since when the figures are old, second by second. */
function Outage({outage}) {
  useSeconds(1);
  const age = outage.asOf === null ? '' : ` The figures are ${span(Math.max(0, Math.round((Date.now() - outage.asOf) / 1_000)))} old and are not refreshed.`;
  return html`<div class="banner bad" role="alert"><${Icon} name="triangle-alert" /> ${outage.text}<span aria-live="off">${age}</span> Nothing can be changed meanwhile. This page goes on by itself.</div>`;
}

function Crumbs({crumbs}) {
  if (crumbs.length < 2) return null;
  return html`<nav class="crumbs" aria-label="Breadcrumbs">${crumbs.map(([text, href], index) => html`
    ${index > 0 && html`<${Icon} name="chevron-right" size=${12} />`}
    ${href ? html`<a href=${href}>${text}</a>` : html`<span aria-current="page">${text}</span>`}`)}</nav>`;
}

/** Finds a job by its id or trace id from anywhere. */
function Find({client, field}) {
  const [hits, setHits] = useState(null);
  const find = async (event) => {
    event.preventDefault();
    const text = field.current.value.trim();
    if (!text) return;
    const answer = await client.ask('find', {text});
    if (answer.data?.href) location.assign(at(answer.data.href));
    else setHits(answer.data?.hits ?? []);
  };
  return html`<form class="find" role="search" onSubmit=${find}>
    <${Icon} name="search" /><input ref=${field} type="search" name="find" placeholder="Job or trace id" aria-label="Find a job by its id or trace id"
      onInput=${() => setHits(null)} onKeyDown=${(event) => { if (event.key === 'Escape') { setHits(null); field.current.blur(); } }} /><kbd>/</kbd>
    ${hits && html`<div class="hits">${hits.length === 0 && html`<p>No job with this id or trace is kept. Finished jobs are kept for a while only; the
      <a href=${`${ROOT}/audit?trace=${encodeURIComponent(field.current.value.trim())}`}>audit trail</a> goes back further.</p>`}
      ${hits.map((hit) => html`<a key=${hit.href} href=${hit.href}><b>${hit.name}</b> ${hit.queue} <span class=${`state ${hit.state}`}>${hit.state}</span></a>`)}</div>`}
  </form>`;
}

function Theme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme);
  const turn = () => {
    const next = theme === 'dark' ? 'light' : 'dark';
    document.documentElement.dataset.theme = next;
    localStorage.setItem('teknav-theme', next);
    setTheme(next);
  };
  return html`<button type="button" class="quiet" title=${theme === 'dark' ? 'Light' : 'Dark'} onClick=${turn}>
    <${Icon} name=${theme === 'dark' ? 'sun' : 'moon'} /></button>`;
}

function Viewer({viewer}) {
  if (!viewer) return null;
  return html`<details class="viewer"><summary title="Who is signed in"><${Icon} name="user" /> <span dir="auto">${viewer.name}</span></summary>
    <div class="menu"><p><b dir="auto">${viewer.name}</b><br />${viewer.role}${viewer.queues && ` of ${viewer.queues}`}</p>
      <a href=${`${ROOT}/account`}>Your account and sessions</a>
      ${viewer.mayManage && html`<a href=${`${ROOT}/access`}>Users and tokens</a>`}
      <form method="post" action="/sign-out"><input type="hidden" name="csrf_token" value=${viewer.csrf} />
        <button class="button"><${Icon} name="log-out" /> Sign out</button></form></div></details>`;
}

/** `/` finds, `g` and a letter goes somewhere, `j` and `k` move, Enter opens, `x` selects. */
function useKeys(search) {
  useEffect(() => {
    let afterG = false;
    const press = (event) => {
      const inside = event.composedPath()[0];
      if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(inside.tagName)) return;
      if (event.key === '/') {
        event.preventDefault();
        search.current?.focus();
      } else if (afterG) {
        const place = PLACES.find(([, , , letter]) => letter === event.key);
        if (place) location.assign(at(`${ROOT}/${place[0]}`));
      } else if (event.key === 'j' || event.key === 'k') {
        move(inside, event.key === 'j' ? 1 : -1);
      }
      afterG = event.key === 'g';
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, []);
}

function move(from, by) {
  const root = from.getRootNode?.();
  const scope = root instanceof ShadowRoot ? root : deepestRoot();
  const rows = [...scope.querySelectorAll('tr[tabindex]')];
  const at = rows.indexOf(scope.activeElement?.closest('tr'));
  rows[Math.max(0, Math.min(rows.length - 1, at + by))]?.focus();
}

function deepestRoot() {
  let scope = document;
  for (let host = [...document.querySelectorAll('*')].find((node) => node.shadowRoot); host; host = [...scope.querySelectorAll('*')].find((node) => node.shadowRoot)) scope = host.shadowRoot;
  return scope;
}
