// The runbook: what does this mean, and how is it fixed?
import {Empty, html} from 'teknav/js/kit.js';
import {linksAt} from 'teknav/js/site.js';

export default function Runbook({html: text, problem}) {
  if (problem) return html`<div class="head"><h1>Runbook</h1></div><${Empty} icon="info" title="No page about this">${problem}</${Empty}>`;
  if (!text) return html`<div class="head"><h1>Runbook</h1></div><div class="skeleton"></div>`;
  return html`<article class="card prose" dangerouslySetInnerHTML=${{__html: linksAt(text)}}></article>`;
}
