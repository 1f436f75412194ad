// Dead letters of all queues, by cause: what is broken, and where is it decided?
import {Empty, html} from 'teknav/js/kit.js';
import {count} from 'teknav/js/format.js';
import {Groups} from 'teknav/js/groups.js';

export default function DeadLetters({causes, problem}) {
  return html`<div class="head"><h1>Dead letters</h1>${causes && html`<p class="grow">${count(causes.total)} in all, by cause. Open one to inspect, replay or delete what failed of it.</p>`}</div>
    ${problem && html`<${Empty} icon="circle-alert" title="This cannot be shown">${problem}</${Empty}>`}
    ${!problem && html`<${Groups} causes=${causes} hasQueues />`}`;
}
