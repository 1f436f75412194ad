// A form made from a payload's JSON schema. What it cannot offer as a field is offered as JSON.
import {html, useMemo, useState} from 'teknav/vendor/preact.js';
import {Dialog} from 'teknav/js/dialog.js';

/** What is wrong with which field, as an answer says it. */
export function problemsOf(answer) {
  return answer.data?.problems ?? (answer.field ? {[answer.field]: answer.text.replace(/^(?:\w+: )*/, '')} : {});
}

/** What is wrong with a field or a part of it, `input.a`. */
function problemWith(name, problems) {
  const path = Object.keys(problems).find((key) => key === name || key.startsWith(`${name}.`));
  return path === undefined || path === name ? problems[path] : `${path}: ${problems[path]}`;
}

/** What is wrong with none of these fields. */
function problemsBeside(names, problems) {
  const others = Object.entries(problems).filter(([key]) => !names.includes(key.split('.')[0]));
  return others.map(([key, text]) => key ? `${key}: ${text}` : text).join('; ');
}

/** What is wrong, beside its field. */
export function Wrong({text}) {
  return text ? html`<span class="problem" role="alert">${text}</span>` : null;
}

/** What a form asks of the page, one question at a time: `ask(event, action, args, then)`, and what was wrong. */
export function useAsk(client, fields) {
  const [isBusy, setBusy] = useState(false);
  const [problems, setProblems] = useState({});
  const ask = async (event, action, args, then) => {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    const answer = await client.ask(action, args, fields);
    setBusy(false);
    setProblems(problemsOf(answer));
    if (answer.ok) then(answer.data);
  };
  return {ask, isBusy, problems};
}

/** What a list is frozen of: what was selected, or what matches the filters now. */
export function WhatMatches({ids, filters, before}) {
  const said = Object.entries(filters).filter(([, value]) => value).map(([key, value]) => `${key} ${value}`).join(', ');
  const what = ids ? 'These are frozen as a list, and' : `What matches now (${said || 'no filter: all'}) is frozen as a list, the oldest first, and`;
  return html`<p class="soft">${what} shown to you before anything ${before}.</p>`;
}

/** How many of what matches are put on a list. */
export function OldestOnly({limit, onLimit, problem}) {
  return html`<label class="stacked">Only the oldest (empty: all that match)<input name="limit" type="number" min="1" max="100000" value=${limit} onInput=${(event) => onLimit(event.target.value)} /><${Wrong} text=${problem} /></label>`;
}

/** Create a job of the queue: choose its name, fill its payload. */
export function NewJob({client, queue, jobs, onClose}) {
  const names = Object.keys(jobs);
  const [name, setName] = useState(names[0]);
  const schema = jobs[name];
  const [values, setValues] = useState({});
  const [problems, setProblems] = useState({});
  const [extra, setExtra] = useState({delay_seconds: '', idempotency_key: ''});
  const [isBusy, setBusy] = useState(false);
  const fields = useMemo(() => fieldsOf(schema), [schema]);
  const places = ['delay', 'idempotency_key', ...fields.map((field) => field.name)];
  const send = async (event) => {
    event.preventDefault();
    if (isBusy) return;
    setProblems({});
    setBusy(true);
    const answer = await client.ask('enqueue', {queue, job: name, payload: payloadOf(fields, values), delay_seconds: Number(extra.delay_seconds) || 0, idempotency_key: extra.idempotency_key}, places);
    setBusy(false);
    if (answer.ok && !answer.data?.problems) onClose();
    else setProblems(problemsOf(answer));
  };
  return html`<${Dialog} title=${`New job on ${queue}`} onClose=${onClose}><form onSubmit=${send}>
    ${names.length > 1 && html`<label class="stacked">Job<select name="job" value=${name} onChange=${(event) => { setName(event.target.value); setValues({}); setProblems({}); }}>
      ${names.map((key) => html`<option key=${key} value=${key}>${key}</option>`)}</select></label>`}
    <p class="soft">${plain(schema.description)}</p>
    ${fields.map((field) => html`<${Field} key=${name + field.name} field=${field} value=${values[field.name]} problem=${problemWith(field.name, problems)}
      onChange=${(value) => setValues({...values, [field.name]: value})} />`)}
    <div class="columns"><label class="stacked">Run it after, seconds<input name="delay_seconds" type="number" min="0" value=${extra.delay_seconds} onInput=${(event) => setExtra({...extra, delay_seconds: event.target.value})} /><${Wrong} text=${problems.delay} /></label>
      <label class="stacked">Idempotency key<input name="idempotency_key" autocomplete="off" value=${extra.idempotency_key} onInput=${(event) => setExtra({...extra, idempotency_key: event.target.value})} /><${Wrong} text=${problems.idempotency_key} /></label></div>
    <${Wrong} text=${problemsBeside(places, problems)} />
    <div class="row end"><button type="button" class="button" onClick=${onClose}>Cancel</button><button class="button main" disabled=${isBusy} aria-busy=${isBusy}>Create job</button></div>
  </form></${Dialog}>`;
}

function Field({field, value, problem, onChange}) {
  const label = html`<span>${field.title}${field.isRequired && ' *'} ${field.description && html`<small class="faint">${field.description}</small>`}</span>`;
  const shared = {name: field.name, required: field.isRequired, 'aria-invalid': Boolean(problem)};
  let input;
  if (field.kind === 'boolean') input = html`<input type="checkbox" ...${shared} required=${false} checked=${value ?? field.standard ?? false} onChange=${(event) => onChange(event.target.checked)} />`;
  else if (field.kind === 'choice') input = html`<select ...${shared} value=${value ?? field.standard ?? ''} onChange=${(event) => onChange(event.target.value)}>
    ${!field.isRequired && html`<option value="">–</option>`}${field.options.map((option) => html`<option key=${option} value=${option}>${option}</option>`)}</select>`;
  else if (field.kind === 'json') input = html`<textarea ...${shared} dir="auto" placeholder="JSON" value=${value ?? ''} onInput=${(event) => onChange(event.target.value)}></textarea>`;
  else if (field.kind === 'long') input = html`<textarea ...${shared} dir="auto" value=${value ?? ''} onInput=${(event) => onChange(event.target.value)}></textarea>`;
  else input = html`<input ...${shared} dir="auto" type=${field.kind} autocomplete="off" value=${value ?? ''} placeholder=${field.standard ?? ''} step=${field.step} onInput=${(event) => onChange(event.target.value)} />`;
  return html`<label class="stacked">${label}${input}<${Wrong} text=${problem} /></label>`;
}

/** A docstring's words, without the marks of code. */
function plain(words) {
  return words?.replaceAll('`', '');
}

function fieldsOf(schema) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const found = resolved(property, schema.$defs ?? {});
    const standard = ['string', 'number', 'boolean'].includes(typeof found.default) ? found.default : undefined;
    return {name, title: name, description: plain(found.description), isRequired: required.has(name), standard, ...kindOf(found)};
  });
}

function resolved(property, definitions) {
  if (property.$ref) return {...definitions[property.$ref.split('/').pop()], ...property};
  const some = (property.anyOf ?? []).filter((option) => option.type !== 'null');
  return some.length === 1 ? {...resolved(some[0], definitions), ...property, anyOf: undefined} : property;
}

function kindOf(found) {
  if (found.enum) return {kind: 'choice', options: found.enum};
  if (found.const !== undefined) return {kind: 'choice', options: [found.const]};
  if (found.writeOnly || found.format === 'password') return {kind: 'password'};
  if (found.type === 'boolean') return {kind: 'boolean'};
  if (found.type === 'integer') return {kind: 'number', step: 1};
  if (found.type === 'number') return {kind: 'number', step: 'any'};
  if (found.format === 'email') return {kind: 'email'};
  if (found.type === 'string') return {kind: (found.maxLength ?? 0) > 500 && !found.pattern ? 'long' : 'text'};
  return {kind: 'json'};
}

/** Each field as a JSON text. What was typed as JSON goes as it was typed: the server reads it. */
function payloadOf(fields, values) {
  const filled = fields.filter(({name}) => values[name] !== undefined && values[name] !== '');
  return Object.fromEntries(filled.map(({name, kind}) => [name, kind === 'json' ? values[name] : JSON.stringify(kind === 'number' ? Number(values[name]) : values[name])]));
}
