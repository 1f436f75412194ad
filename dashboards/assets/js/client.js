// The page's line to its server: what is shown, what was asked, and whether anybody answers.
import {at} from './site.js';

const ANSWER_MS = 30_000;
const SILENCE_MS = 25_000;
const RELOADED = 'teknav-reloaded';

/** `fresh`, with those parts of `old` in it that are equal. */
export function kept(old, fresh) {
  if (typeof fresh !== 'object' || typeof old !== 'object' || fresh === null || old === null) return fresh;
  if (Array.isArray(fresh) !== Array.isArray(old)) return fresh;
  const names = Object.keys(fresh);
  let isSame = names.length === Object.keys(old).length;
  for (const name of names) {
    fresh[name] = kept(old[name], fresh[name]);
    isSame &&= fresh[name] === old[name] && name in old;
  }
  return isSame ? old : fresh;
}

function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'))).text();
}

/** What the server's `change` makes of `old`; what did not change stays the same object. */
export function applied(old, change) {
  if ('v' in change) return kept(old, change.v);
  if (change.l) return change.l.flatMap((entry) => (!Array.isArray(entry) ? [entry.v] : typeof entry[1] === 'number' ? old.slice(entry[0], entry[0] + entry[1]) : [applied(old[entry[0]], entry[1])]));
  const fresh = {...old};
  for (const name of change.x ?? []) delete fresh[name];
  for (const [name, part] of Object.entries(change.d)) fresh[name] = applied(old[name], part);
  return fresh;
}

/** State of one open page. `listen` is called after every change. */
export class Client {
  constructor(model) {
    this.model = model;
    const wasReloaded = this.restore();
    /** What a reload after a lost connection must not lose. */
    this.keep = {};
    this.slots = {...model.state};
    /** What the server has told, and the number of its last message. */
    this.told = {};
    this.version = undefined;
    this.incoming = Promise.resolve();
    this.toasts = [];
    this.pending = new Map();
    this.isLost = false;
    this.heardAt = Date.now();
    this.nextId = 1;
    this.listeners = new Set();
    model.on('msg:custom', (message) => this.hear(message.kind ? message : message.data));
    model.document?.on_event?.('connection_lost', () => this.lose());
    window.addEventListener('popstate', () => this.ask('navigate', {query: this.query()}));
    model.send_msg({id: 0, action: 'hello', args: {}});
    this.heart = setInterval(() => this.beat(), 5_000);
    if (wasReloaded) {
      this.toast({text: 'The server was restarted. This page is connected again.', tone: 'info'});
    }
  }

  /** Take up what the page kept before it was loaded again; answers whether it was. */
  restore() {
    const text = sessionStorage.getItem(RELOADED);
    sessionStorage.removeItem(RELOADED);
    const kept = text ? JSON.parse(text) : {};
    this.restored = kept.path === location.pathname + location.search ? kept : {};
    return Boolean(text);
  }

  listen(callback) {
    this.listeners.add(callback);
    return () => this.listeners.delete(callback);
  }

  changed() {
    for (const callback of this.listeners) callback();
  }

  hear(message) {
    this.heardAt = Date.now();
    if (message.kind === 'state') this.incoming = this.incoming.then(() => this.take(message));
    if (message.kind === 'toast') this.toast(message);
    if (message.kind === 'answer') this.settle(message);
    this.changed();
  }

  /** One after the other, as they came: unpacking takes a moment. */
  async take({base, change, packed}) {
    this.show(base, JSON.parse(packed ? await unpacked(packed) : change));
    this.changed();
  }

  /** The first message after `hello` tells everything, each later one what has changed since the one before. */
  show(base, change) {
    if (base === 0) this.told = {};
    else if (base !== this.version) {
      this.version = undefined;
      this.model.send_msg({id: 0, action: 'hello', args: {}});
      return;
    }
    this.version = base + 1;
    const before = this.told.outage;
    this.told = applied(this.told, change);
    const slots = {...this.told};
    // By this browser's clock: the server says how old the figures are, not when they were read.
    if (slots.outage && slots.outage !== before) this.asOf = slots.outage.ageSeconds === null ? null : Date.now() - slots.outage.ageSeconds * 1_000;
    if (slots.outage) slots.outage = {...slots.outage, asOf: this.asOf};
    if (this.restored.scroll && slots.shell) {
      // The page is as high as it was once what came has been drawn.
      const {scroll} = this.restored;
      this.restored = {...this.restored, scroll: 0};
      requestAnimationFrame(() => requestAnimationFrame(() => window.scrollTo(0, scroll)));
    }
    for (const [name, value] of Object.entries(slots)) this.slots[name] = kept(this.slots[name], value);
  }

  settle(message) {
    const waiting = this.pending.get(message.id);
    if (!waiting) return;
    clearTimeout(waiting.timer);
    if (message.confirm) {
      this.confirmFirst(message, waiting);
      return;
    }
    this.pending.delete(message.id);
    const isShownThere = waiting.action === 'confirm' || waiting.fields.includes(message.field);
    if (message.text && !isShownThere) this.toast({text: message.text, tone: message.ok ? 'done' : 'bad', undo: message.undo});
    waiting.resolve(message);
  }

  /**
   * Ask the server to do something. The same action under way is not asked a second time. What is wrong with one of
   * `fields` is shown by who asks, beside the field.
   */
  ask(action, args = {}, fields = []) {
    const key = action + JSON.stringify(args);
    for (const waiting of this.pending.values()) if (waiting.key === key) return waiting.promise;
    const id = this.nextId++;
    const waiting = {id, key, action, args, fields};
    waiting.promise = new Promise((resolve) => { waiting.resolve = resolve; });
    this.pending.set(id, waiting);
    this.send(waiting);
    this.changed();
    return waiting.promise;
  }

  send(waiting) {
    const {id, action, args} = waiting;
    waiting.timer = setTimeout(() => this.settle({id, ok: false, text: 'The server does not answer. Nothing is known of the outcome; look before you try again.'}), ANSWER_MS);
    this.model.send_msg({id, action, args});
  }

  /** The server wants to know first that it is still the same person; then it is asked for the same once more. */
  async confirmFirst(message, waiting) {
    if (await this.confirmIdentity(message.confirm)) this.send(waiting);
    else this.settle({id: waiting.id, ok: false});
  }

  isBusy(action) {
    for (const waiting of this.pending.values()) if (waiting.action === action) return true;
    return false;
  }

  toast(toast) {
    const entry = {...toast, id: this.nextId++};
    this.toasts = [...this.toasts.slice(-3), entry];
    setTimeout(() => this.dismiss(entry.id), toast.undo ? 12_000 : toast.tone === 'bad' ? 15_000 : 5_000);
    this.changed();
  }

  dismiss(id) {
    this.toasts = this.toasts.filter((entry) => entry.id !== id);
    this.changed();
  }

  query() {
    return Object.fromEntries(new URLSearchParams(location.search));
  }

  /** Change filters: they live in the address, so that back, reload and a shared link work. */
  go(changes) {
    const query = new URLSearchParams(location.search);
    // Whatever else is asked for, it is shown from its beginning.
    for (const name of ['page', 'cursor']) query.delete(name);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === undefined || value === '') query.delete(name);
      else query.set(name, String(value));
    }
    const text = query.toString();
    if (text === new URLSearchParams(location.search).toString()) return Promise.resolve();
    history.pushState(null, '', location.pathname + (text ? '?' + text : ''));
    return this.ask('navigate', {query: this.query()});
  }

  beat() {
    if (this.isLost || Date.now() - this.heardAt < SILENCE_MS / 2) return;
    if (Date.now() - this.heardAt > SILENCE_MS) this.lose();
    else this.model.send_msg({id: 0, action: 'ping', args: {}});
  }

  /** The line is cut: say so, and come back with the same address as soon as the server does. */
  lose() {
    if (this.isLost) return;
    this.isLost = true;
    clearInterval(this.heart);
    this.changed();
    const look = async () => {
      try {
        const answer = await fetch(at('/healthz'), {cache: 'no-store'});
        if (answer.ok) {
          const kept = {path: location.pathname + location.search, scroll: window.scrollY, ...this.keep};
          sessionStorage.setItem(RELOADED, JSON.stringify(kept));
          location.reload();
          return;
        }
      } catch { /* still away */ }
      setTimeout(look, 1_000);
    };
    setTimeout(look, 500);
  }
}
