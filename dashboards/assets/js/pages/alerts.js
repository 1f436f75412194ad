// Alerts: what is wrong now, since when, and who was told?
import {Badge, Empty, html, Icon, Pager, Time, Words} from 'teknav/js/kit.js';

export default function Alerts({client, unwatched, open, recent, undelivered, silences, problem, ...list}) {
  return html`<div class="head"><h1>Alerts</h1><p class="grow">Each is told once when it begins and once when it ends. Rules are settings; see the documentation of alerts.</p></div>
    ${problem && html`<${Empty} icon="circle-alert" title="This cannot be shown">${problem}</${Empty}>`}
    ${!open && !problem && html`<div class="skeleton"></div>`}
    ${unwatched && html`<section class="attention" aria-label="Attention"><a class="bad" href="/dashboard/owner/workers"><${Icon} name="circle-alert" /> <span>${unwatched}</span></a></section>`}
    ${open && html`<section class="card"><div class="title"><h2>Open</h2></div>${open.length ? html`<${List} alerts=${open} label="Open alerts" />` : unwatched ? html`<${Empty} icon="bell" title="No open alert">Nobody looks whether a rule is broken at the moment.</${Empty}>` : html`<${Empty} icon="check" title="Nothing is wrong">No rule is broken at the moment.</${Empty}>`}</section>
      ${undelivered.length > 0 && html`<section class="card"><div class="title"><h2>Not delivered</h2><span class="soft">Messages that no channel has taken</span></div><div class="scroll"><table class="cards" aria-label="Undelivered messages"><thead><tr><th scope="col">Rule</th><th scope="col">Channel</th><th scope="col">Message</th><th scope="col" class="right">Attempts</th><th scope="col">Next</th><th scope="col">Error</th></tr></thead>
        <tbody>${undelivered.map((message, at) => html`<tr key=${at}><td class="name"><b>${message.rule}</b></td><td data-label="Channel">${message.channel}</td><td data-label="Message">${message.event}</td><td class="right" data-label="Attempts">${message.attempt_count}</td>
          <td data-label="Next">${message.given_up_at ? html`<${Badge} tone="bad">given up</${Badge}>` : html`<${Time} at=${message.next_attempt_at} relative />`}</td><td class="fill soft"><${Words} text=${message.error ?? ''} /></td></tr>`)}</tbody></table></div></section>`}
      ${silences.length > 0 && html`<section class="card"><div class="title"><h2>Silences</h2></div><div class="scroll"><table class="cards" aria-label="Silences"><tbody>${silences.map((silence, at) => html`<tr key=${at}><td class="name"><b>${silence.rule}</b> ${silence.queue || 'all queues'}</td><td data-label="Until"><${Time} at=${silence.until} /></td><td data-label="By"><${Words} text=${silence.created_by} /></td><td class="fill soft"><${Words} text=${silence.reason} /></td></tr>`)}</tbody></table></div></section>`}
      <section class="card"><div class="title"><h2>Over</h2></div>${recent.length ? html`<${List} alerts=${recent} label="Alerts that are over" />` : html`<${Empty} icon="bell" title="No alert has ended yet">Those that are over are kept here.</${Empty}>`}
        <${Pager} client=${client} first=${list.first} shown=${recent.length} next=${list.next} isLater=${list.isLater} /></section>`}`;
}

function List({alerts, label}) {
  return html`<div class="scroll"><table class="cards whole" aria-label=${label}><thead><tr><th scope="col">Rule</th><th scope="col">Queue</th><th scope="col">Message</th><th scope="col">Since</th><th scope="col">Over</th></tr></thead><tbody>${alerts.map((alert) => html`<tr key=${alert.id}>
    <td class="name line"><b>${alert.rule}</b> <${Badge} tone=${alert.resolved_at ? '' : alert.severity === 'page' ? 'bad' : 'warn'}>${alert.severity}</${Badge}> <a class="faint" href=${alert.runbook}>runbook</a></td>
    <td data-label="Queue">${alert.href ? html`<a href=${alert.href}>${alert.queue}</a>` : alert.queue}</td><td class="fill"><${Words} text=${alert.message} title=${alert.message} />
      ${alert.first_message !== alert.message && html`<small class="faint">at first: <${Words} text=${alert.first_message} title=${alert.first_message} /></small>`}${alert.resolution && html`<${Words} as="small" class="faint" text=${alert.resolution} title=${alert.resolution} />`}</td>
    <td data-label="Since"><${Time} at=${alert.since_at} relative /></td><td data-label="Over">${alert.resolved_at ? html`<${Time} at=${alert.resolved_at} relative />` : '–'}</td></tr>`)}</tbody></table></div>`;
}
