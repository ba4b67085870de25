// One person in the room: what they see, and what they do.

import { CometDLine } from './cometd_line.js';
import { Conversation } from './conversation.js';
import { FayeLine } from './faye_line.js';
import { Outbox } from './outbox.js';
import { Question } from './question.js';
import { Timeline } from './timeline.js';

const LINES = { cometd: CometDLine, faye: FayeLine };
const LIBRARIES = { cometd: 'CometD', faye: 'Faye' };
const TRANSPORTS = { websocket: 'WebSocket', 'long-polling': 'Long-polling' };

export class Seat {
  #room;
  #line;
  #outbox;
  #conversation = new Conversation();
  #timeline;
  #onNews;
  #who;
  #history;
  #server = '';
  #downSince = 0;
  #wasUp = false;

  constructor({ client, name, room, transport, onNews }) {
    this.client = client;
    this.name = name;
    this.#room = `/rooms/${room}`;
    this.#onNews = onNews;
    this.element = document.querySelector('#seat').content.firstElementChild.cloneNode(true);
    this.element.dataset.client = client;
    this.#timeline = new Timeline(this.#find('.timeline'), name);
    this.#line = new LINES[client]({
      url: new URL('bayeux', location.href).href.split('?')[0],
      introduction: { chat: { name, room, client } },
      transport,
      channels: [this.#room, '/presence'],
      services: ['/service/who', '/service/history'],
      received: (channel, data) => this.#received(channel, data),
      up: (session) => this.#up(session),
      down: () => this.#down(),
    });
    this.#outbox = new Outbox((words) => this.#line.send('/service/say', words));
    this.#who = new Question((number) => this.#line.send('/service/who', number));
    this.#history = new Question((number) => this.#line.send('/service/history', number));
    this.#dress(transport);
  }

  enter() {
    this.#line.open();
  }

  // The session's id: a secret, but this page's own.
  get clientId() {
    return this.#line.clientId;
  }

  get counts() {
    const { filled, repeated } = this.#conversation;
    return { filled, repeated };
  }

  say(text) {
    const words = { id: crypto.randomUUID(), at: Date.now(), text };
    this.#timeline.expect({ ...words, name: this.name, client: this.client });
    this.#outbox.add(words);
  }

  // What comes

  #received(channel, data) {
    switch (channel) {
      case this.#room:
        if (this.#conversation.add(data)) this.#timeline.add(data);
        this.#onNews();
        break;
      case '/presence':
        this.#who.ask();
        break;
      case '/service/who':
        if (this.#who.isAnsweredBy(data)) this.#seeWho(data);
        break;
      case '/service/history':
        if (this.#history.isAnsweredBy(data)) this.#seeHistory(data);
        break;
    }
  }

  #seeHistory({ messages }) {
    for (const [message, next] of this.#conversation.merge(messages)) this.#timeline.add(message, next);
  }

  #seeWho({ you, here, people }) {
    const me = people.find((one) => one.id === you);
    this.#server = me?.frontEnd || here;
    this.#showState('up');
    this.#find('.people').replaceChildren(...people.map((one) => personOf(one, one.id === you)));
  }

  // The line

  #up(session) {
    this.#showState('up');
    if (this.#downSince) this.#noteReturn(session);
    this.#downSince = 0;
    this.#wasUp = true;
    this.#who.ask();
    // As long as page and session last, acknowledgements see to it that nothing is missing.
    if (session !== 'same') this.#history.ask();
    this.#outbox.flush();
  }

  #down() {
    if (!this.#wasUp || this.#downSince) return;
    this.#downSince = performance.now();
    this.#showState('down');
  }

  #noteReturn(session) {
    const seconds = ((performance.now() - this.#downSince) / 1000).toFixed(1);
    const kind = session === 'new' ? 'new session' : 'same session';
    this.#timeline.note(`Connection lost. Back after ${seconds} s, ${kind}.`);
  }

  async #kill() {
    this.#timeline.note(`Killing ${serverName(this.#server)} …`);
    // It may not live to answer.
    await fetch('kill', { method: 'POST', body: this.clientId }).catch(() => {});
  }

  // What is seen

  #dress(transport) {
    this.#find('.portrait').textContent = this.name[0];
    this.#find('.name').textContent = this.name;
    this.#find('.client').textContent = LIBRARIES[this.client];
    this.#find('.transport').textContent = TRANSPORTS[transport];
    this.#find('.kill').addEventListener('click', () => this.#kill());
    this.#find('.composer').addEventListener('submit', (event) => {
      event.preventDefault();
      const { text } = event.target.elements;
      if (text.value.trim()) this.say(text.value.trim());
      text.value = '';
    });
    this.#showState('connecting');
  }

  #showState(state) {
    this.element.dataset.state = state;
    const words = { up: `on ${serverName(this.#server)}`, down: 'reconnecting …', connecting: 'connecting …' };
    this.#find('.state').textContent = words[state];
    this.#find('.kill').disabled = state !== 'up';
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }
}

function personOf({ id, name, client }, me) {
  const person = document.createElement('li');
  person.dataset.id = id;
  person.dataset.client = client;
  person.textContent = me ? `${name} (you)` : name;
  person.title = `uses ${LIBRARIES[client]}`;
  return person;
}

// A front-end is named one:4711, after its process.
function serverName(frontEnd) {
  const [name, process] = frontEnd.split(':');
  return process ? `server ${name} (${process})` : 'a server';
}
